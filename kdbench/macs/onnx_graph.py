"""An ONNX graph to count: read from its file, with the known facts about its tensors."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.errors import InputError
from kdbench.modelfile.graphs.functions import inlined
from kdbench.modelfile.graphs.training_mode import RANDOM
from kdbench.modelfile.graphs.weights import subgraphs
from kdbench.modelfile.reading import read_model

Model = Any  # onnx.ModelProto; onnx is imported by the functions that need it
Graph = Any  # onnx.GraphProto
Node = Any  # onnx.NodeProto
Shape = tuple[int, ...]
Shapes = dict[str, Shape]

# The property in which torch's exporter stores a node's modules, outermost first, and then the node's name.
_SCOPES = "pkg.torch.onnx.name_scopes"

DOMAINS = {"", "com.microsoft"}
"""The standard's and onnxruntime's domains, whose operators the formulas describe."""

_ALIASES = {"ai.onnx": ""}  # the standard's long name, which onnx's shape inference does not support


@dataclass(frozen=True)
class KnownValues:
    """Known facts about a graph's tensors, by name: shapes, element types, and the values of short constants.

    `fixed` are the tensors, in the graph and around it, that depend on no input.
    """

    shapes: Shapes
    types: dict[str, int]
    constants: dict[str, Any]
    fixed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Operation:
    """A node and the known facts about its tensors. Raises KeyError for an unknown shape."""

    node: Node
    known: KnownValues

    def has(self, position: int) -> bool:
        """Return whether the optional input at `position` is present."""
        return position < len(self.node.input) and bool(self.node.input[position])

    def input(self, position: int) -> Shape:
        """Return the shape of an input."""
        return self.known.shapes[self.node.input[position]]

    def output(self) -> Shape:
        """Return the shape of the first output."""
        return self.known.shapes[self.node.output[0]]

    def constant(self, position: int) -> Any:
        """Return the value of an input as an array, None if the input is not a constant."""
        return self.known.constants.get(self.node.input[position]) if self.has(position) else None

    def attribute(self, name: str, default: Any) -> Any:
        """Return the value of an attribute; text as bytes."""
        import onnx

        match = next((attribute for attribute in self.node.attribute if attribute.name == name), None)
        return default if match is None else onnx.helper.get_attribute_value(match)


def load_graph(path: Path) -> Model:
    """Read an ONNX file without external weights and inline its local functions; raises InputError unless it is one."""
    model = read_model(path)
    if not model.opset_import:
        raise InputError(f"{path} declares no opset", "export it with one")
    model = inlined(model, str(path))
    for opset in model.opset_import:
        opset.domain = _ALIASES.get(opset.domain, opset.domain)
    _replace_aliases(model.graph)
    return model


def _replace_aliases(graph: Graph) -> None:
    for node in graph.node:
        node.domain = _ALIASES.get(node.domain, node.domain)
        for inner in subgraphs(node):
            _replace_aliases(inner)


def fixed_tensors(graph: Graph, around: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return the names of the tensors that depend on no input, with those `around` a subgraph."""
    fixed = {*around, *(tensor.name for tensor in graph.initializer)}
    fixed |= {sparse.values.name for sparse in graph.sparse_initializer}
    for node in graph.node:
        # A subgraph may read outer tensors that are not the node's inputs: such a node counts as computed.
        holds_graphs = any(True for _ in subgraphs(node))
        if not holds_graphs and node.op_type not in RANDOM and all(name in fixed for name in node.input if name):
            fixed.update(node.output)
    return frozenset(fixed)


def computed(graph: Graph, fixed: frozenset[str] | None = None) -> Iterator[Node]:
    """Yield the nodes of `graph` that depend on an input; a runtime computes the others, `fixed`, once."""
    known = fixed_tensors(graph) if fixed is None else fixed
    yield from (node for node in graph.node if not all(name in known for name in node.output if name))


def operator_name(node: Node) -> str:
    """Return the operator of a node, with its domain unless that is the standard's: `com.microsoft::Attention`."""
    return f"{node.domain}::{node.op_type}".removeprefix("::")


def layer_name(node: Node) -> str:
    """Return the name of a node in a list of layers: the torch module that computes its result, if the file says so.

    A batch norm folded into a convolution leaves a node that computes the batch norm's result.
    """
    scopes = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "")
    try:
        module = ast.literal_eval(scopes)[-2] if scopes else ""
    except (ValueError, SyntaxError, IndexError, TypeError):  # written by another exporter, in another form
        module = ""
    return str(module or node.name or next(filter(None, node.output), node.op_type))


def replace_nodes(graph: Graph, nodes: list[Node]) -> None:
    """Replace all nodes of `graph` by `nodes`, which may be some of them."""
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
