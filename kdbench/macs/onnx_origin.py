"""The layers of a model that each node of its optimised graph computes, and their multiply–accumulates.

onnxruntime fuses and renames nodes and changes layouts. The output of a fused node keeps the name of the output of its
last part; if the layout changed, the node is named after that tensor, or after the node that computed it. The fused
layers are those between such tensors.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdbench.macs.onnx_counter import count_node
from kdbench.macs.onnx_graph import Model, Node, Operation, computed, layer_name, load_graph
from kdbench.macs.onnx_shapes import infer
from kdbench.macs.operators import ONNX
from kdbench.modelfile.formats.ort_format import is_ort

_LAID_OUT = "com.microsoft.nchwc"  # onnxruntime's convolutions on channels in blocks
# What onnxruntime appends to the name of a tensor or node to name its replacement: channels in blocks; batch norm as
# convolution; a number if the name exists; the fusion.
_SUFFIX = re.compile(r"(_nchwc|_bn|_token_\d+|/\w+Fusion/?)$")


@dataclass(frozen=True)
class Origin:
    """The layer with most of a node's MACs, and the node's MACs for one sample; None if unknown, with the `reason`."""

    layer: str
    macs: int | None
    reason: str = ""

    def __add__(self, other: "Origin") -> "Origin":
        if self.macs is None or other.macs is None:
            return Origin(self.layer, None, self.reason or other.reason)
        return Origin(self.layer, self.macs + other.macs)


@dataclass(frozen=True)
class _Layers:
    """The nodes of the original graph, each with its name and MACs.

    producer: the index of the node that computes a tensor.
    outputs: the outputs of the node with a name.
    """

    nodes: Sequence[Node]
    origins: Sequence[Origin]
    producer: Mapping[str, int]
    outputs: Mapping[str, Sequence[str]]


def named(path: Path, copy: Path) -> Path:
    """Return a file of the model at `path` in which all nodes have names: itself, or `copy`, which is then written.

    A model with external weights is not copied, because they must be next to the model.
    """
    import onnx
    from onnx.external_data_helper import uses_external_data

    if is_ort(path):
        return path
    model = onnx.load(path, load_external_data=False)
    if all(node.name for node in model.graph.node) or any(map(uses_external_data, model.graph.initializer)):
        return path
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}#{number}"
    onnx.save(model, copy)
    return copy


def origins(original: Path, optimised: Path, input_shape: tuple[int, ...]) -> dict[str, Origin]:
    """Return the origin of each node of the file `optimised`, by the node's name, in the file `original`.

    `input_shape` is the shape of one sample. Nodes with the same name share an origin. Raises InputError for files that
    are no models or do not take such a sample.
    """
    layers = _counted(load_graph(original), input_shape)
    nodes = list(load_graph(optimised).graph.node)
    outputs = [list(dict.fromkeys(_original_outputs(node, layers))) for node in nodes]
    boundaries = {tensor for tensors in outputs for tensor in tensors}
    assigned: set[int] = set()
    by_name: dict[str, Origin] = {}
    for node, tensors in zip(nodes, outputs, strict=True):  # in graph order: an original node goes to the first match
        covered = set() if _is_weightless(node) else _ancestors(tensors, boundaries, layers, assigned)
        assigned |= covered
        origin = _origin(node, tensors, covered, layers)
        by_name[node.name] = by_name[node.name] + origin if node.name in by_name else origin
    return by_name


def untraced(node: str, operator: str) -> Origin:
    """Return the origin of a node that could not be traced to a layer: 0 MACs if its operator never has any."""
    if any(operator in operators for operators in ONNX.values()):
        return Origin(node, 0)
    return Origin(node, None, f"{operator} could not be traced to a layer of the file")


def _counted(model: Model, input_shape: tuple[int, ...]) -> _Layers:
    known, batch = infer(model, input_shape)
    nodes = list(computed(model.graph))
    origins = []
    for node in nodes:
        tally = count_node(model, Operation(node, known))
        reasons = [*tally.uncounted, *(["not the same for every sample"] if tally.macs % batch else [])]
        origins.append(Origin(layer_name(node), None if reasons else tally.macs // batch, ", ".join(reasons)))
    producer = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    by_name = {node.name: [name for name in node.output if name] for node in nodes if node.name}
    return _Layers(nodes, origins, producer, by_name)


def _original_outputs(node: Node, layers: _Layers) -> Iterator[str]:
    """Yield the tensors of the original graph that an optimised node computes, by its outputs or its name."""
    yield from (tensor for tensor in node.output if tensor in layers.producer)
    name = str(node.name)
    yield from layers.outputs.get(name, ())
    while (shorter := _SUFFIX.sub("", name)) != name:
        name = shorter
        if name in layers.producer:
            yield name
        yield from layers.outputs.get(name, ())


def _is_weightless(node: Node) -> bool:
    domain = "" if node.domain == _LAID_OUT else node.domain
    return node.op_type in ONNX.get(domain, ()) or node.op_type.startswith("Reorder")


def _ancestors(tensors: Sequence[str], boundaries: set[str], layers: _Layers, assigned: set[int]) -> set[int]:
    """Return the original nodes that compute `tensors`, back to the outputs of other optimised nodes."""
    covered: set[int] = set()
    pending = list(tensors)
    while pending:
        index = layers.producer.get(pending.pop())
        if index is None or index in assigned or index in covered:
            continue
        covered.add(index)
        pending += [name for name in layers.nodes[index].input if name not in boundaries]
    return covered


def _origin(node: Node, tensors: Sequence[str], covered: set[int], layers: _Layers) -> Origin:
    name = layers.origins[layers.producer[tensors[0]]].layer if tensors else layer_name(node)
    if _is_weightless(node):
        return Origin(name, 0)
    if not covered:
        return untraced(name, node.op_type)
    parts = [layers.origins[index] for index in sorted(covered)]
    if unknown := [part.reason for part in parts if part.macs is None]:
        return Origin(name, None, f"operators whose MACs are not known: {', '.join(unknown)}")
    heaviest = max(parts, key=lambda part: part.macs or 0)
    return Origin(heaviest.layer if heaviest.macs else name, sum(part.macs or 0 for part in parts))
