"""Which layers of a model each node of its optimised graph stands for, and their multiply–accumulates.

onnxruntime fuses, renames and lays out anew. What a fused node gives keeps the name of the tensor that the last of its
parts gave; where the layout changed, the node is called by the name of that tensor, or of the node that gave it.
Between these tensors lie the fused layers.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdbench.macs.onnx_counter import count_node
from kdbench.macs.onnx_graph import DOMAINS, Model, Node, Operation, computed, layer_name, load_graph
from kdbench.macs.onnx_shapes import infer
from kdbench.macs.weightless import ONNX

_LAID_OUT = "com.microsoft.nchwc"  # onnxruntime's convolutions on channels in blocks
# What onnxruntime puts behind the name of a tensor, or of a node, to name the node that takes its place: channels in
# blocks; batch norm as convolution; a number where the name is taken; what fused it.
_SUFFIX = re.compile(r"(_nchwc|_bn|_token_\d+|/\w+Fusion/?)$")


@dataclass(frozen=True)
class Origin:
    """The layer that a node stands for, by the name of the one with most of its MACs, and these for one sample.

    `macs` is None where they cannot be told, for the `reason`.
    """

    layer: str
    macs: int | None
    reason: str = ""


@dataclass(frozen=True)
class _Layers:
    """The nodes of the original graph: which of them gives a tensor, what the node of a name gives, and the MACs.

    `uncounted` says why a node's MACs cannot be told.
    """

    nodes: Sequence[Node]
    giver: Mapping[str, int]
    named: Mapping[str, Sequence[str]]
    macs: Mapping[int, int]
    uncounted: Mapping[int, str]


def named(path: Path, copy: Path) -> Path:
    """Return a file of the model at `path` whose nodes have names: itself, or `copy`, made where some have none.

    A model whose weights lie in other files is left as it is, for these are found beside it only.
    """
    import onnx
    from onnx.external_data_helper import uses_external_data

    model = onnx.load(path, load_external_data=False)
    if all(node.name for node in model.graph.node) or any(map(uses_external_data, model.graph.initializer)):
        return path
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}#{number}"
    onnx.save(model, copy)
    return copy


def origins(original: Path, optimised: Path, input_shape: tuple[int, ...]) -> dict[str, Origin]:
    """Return the origin of each node of the file `optimised`, by the node's name, in the file `original`.

    `input_shape` is one sample's. Nodes that share a name share an origin. Raises InputError for files that are no
    models or that do not take such a sample.
    """
    layers = _counted(load_graph(original), input_shape)
    nodes = list(load_graph(optimised).graph.node)
    gives = [list(dict.fromkeys(_given(node, layers))) for node in nodes]
    given = {tensor for tensors in gives for tensor in tensors}
    taken: set[int] = set()
    found: dict[str, Origin] = {}
    for node, tensors in zip(nodes, gives, strict=True):  # in the order of the graph: what comes first takes first
        covered = set() if _is_weightless(node) else _behind(tensors, given, layers, taken)
        taken |= covered
        origin = _origin(node, tensors, covered, layers)
        found[node.name] = _together(found[node.name], origin) if node.name in found else origin
    return found


def untraced(node: str, operator: str) -> Origin:
    """Return the origin of a node that has no name in the optimised graph: onnxruntime calls it by its number."""
    if operator in ONNX:
        return Origin(node, 0)
    return Origin(node, None, f"{operator} could not be traced to a layer of the file")


def _counted(model: Model, input_shape: tuple[int, ...]) -> _Layers:
    known, batch = infer(model, input_shape)
    nodes = list(computed(model.graph))
    macs, uncounted = {}, {}
    for index, node in enumerate(nodes):
        tally = count_node(model, Operation(node, known))
        macs[index] = tally.macs // batch
        uneven = ["not the same for every sample"] if tally.macs % batch else []
        if tally.uncounted or uneven:
            uncounted[index] = ", ".join([*tally.uncounted, *uneven])
    giver = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    by_name = {node.name: [name for name in node.output if name] for node in nodes if node.name}
    return _Layers(nodes, giver, by_name, macs, uncounted)


def _given(node: Node, layers: _Layers) -> Iterator[str]:
    """Yield the original graph's tensors that a node of the optimised one gives, or that its name stands for."""
    yield from (tensor for tensor in node.output if tensor in layers.giver)
    name = str(node.name)
    yield from layers.named.get(name, ())
    while (shorter := _SUFFIX.sub("", name)) != name:
        name = shorter
        if name in layers.giver:
            yield name
        yield from layers.named.get(name, ())


def _is_weightless(node: Node) -> bool:
    """Tell whether a node of the optimised graph cannot hold MACs."""
    return (node.domain in {*DOMAINS, _LAID_OUT} and node.op_type in ONNX) or node.op_type.startswith("Reorder")


def _behind(tensors: Sequence[str], given: set[str], layers: _Layers, taken: set[int]) -> set[int]:
    """Return the original nodes from which `tensors` come, back to what other nodes of the optimised graph give."""
    covered: set[int] = set()
    left = list(tensors)
    while left:
        index = layers.giver.get(left.pop())
        if index is None or index in taken or index in covered:
            continue
        covered.add(index)
        left += [name for name in layers.nodes[index].input if name not in given]
    return covered


def _origin(node: Node, tensors: Sequence[str], covered: set[int], layers: _Layers) -> Origin:
    name = layer_name(layers.nodes[layers.giver[tensors[0]]]) if tensors else layer_name(node)
    if _is_weightless(node):
        return Origin(name, 0)
    if not covered:
        return untraced(name, node.op_type)
    unknown = [layers.uncounted[index] for index in sorted(covered) if index in layers.uncounted]
    if unknown:
        return Origin(name, None, f"operators whose MACs are not known: {', '.join(unknown)}")
    heaviest = max(sorted(covered), key=lambda index: layers.macs[index])
    macs = sum(layers.macs[index] for index in covered)
    return Origin(layer_name(layers.nodes[heaviest]) if layers.macs[heaviest] else name, macs)


def _together(one: Origin, other: Origin) -> Origin:
    if one.macs is None or other.macs is None:
        return Origin(one.layer, None, one.reason or other.reason)
    return Origin(one.layer, one.macs + other.macs)
