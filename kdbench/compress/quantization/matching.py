"""Matching the layers of a float model with those of its quantized file, by the names of tensors."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdbench.compress.graph_index import LAYERS, GraphIndex
from kdbench.errors import InputError

if TYPE_CHECKING:
    import onnx

# Operators that a quantizer may fold into the layer before them; the result keeps the name of the last one's output.
_FOLDED = {"BatchNormalization", "Add", "Mul", "Relu", "LeakyRelu", "Clip", "Identity"}
_ACTIVATIONS = {"Relu", "Clip"}  # removed if the range of the next QuantizeLinear clips the same values


@dataclass(frozen=True)
class Match:
    """A layer of a float model and its quantized form, by the names of nodes and tensors.

    `result` is a tensor of both models: the layer's output, or that of an activation folded into it; `quantized` is the
    tensor that the next layers of the quantized model read. `computed` is the output of the quantized layer before it
    is quantized, and `exact` the same tensor of the float model.
    """

    name: str
    operator: str
    exact: str
    result: str
    quantized: str
    computed: str


def match_layers(floating: "onnx.ModelProto", quantized: "onnx.ModelProto") -> list[Match]:
    """Return the layers of `floating` that `quantized` has too, in the graph's order.

    `quantized` keeps the names of tensors and stores QuantizeLinear and DequantizeLinear around its operators (QDQ).
    Raises InputError if `floating` has layers and none of them matches.
    """
    source, target = GraphIndex.of(floating.graph), GraphIndex.of(quantized.graph)
    layers = [node for node in floating.graph.node if node.op_type in LAYERS and node.input[0] not in source.stored]
    matches = [match for node in layers if (match := _match(node, source, target)) is not None]
    if layers and not matches:
        message = "the quantized file has no tensor with the name of a layer's output in the float file"
        raise InputError(message, "give the float file that it was made from, and the QDQ form of the quantized one")
    return matches


def _match(node: "onnx.NodeProto", source: GraphIndex, target: GraphIndex) -> Match | None:
    chain = list(_chain(node, source))
    place = next((place for place, name in enumerate(chain) if name in target.producers), None)
    if place is None:
        return None
    result = chain[place]
    layer = _before_rounding(target.producers[result], target)
    folded = place > 0 and source.producers[result].op_type in _ACTIVATIONS
    exact = chain[place - 1] if folded and layer.op_type in LAYERS else result
    name = node.name or node.output[0]
    return Match(name, node.op_type, exact, result, _dequantized(result, target), layer.output[0])


def _chain(node: "onnx.NodeProto", graph_index: GraphIndex) -> Iterator[str]:
    """Yield the output of a layer, and those of the nodes after it that a quantizer may fold into it."""
    name = node.output[0]
    yield name
    while (follower := graph_index.sole_consumer(name)) is not None and follower.op_type in _FOLDED:
        others = [other for other in follower.input if other and other != name]
        if any(other not in graph_index.stored for other in others):
            return
        name = follower.output[0]
        yield name


def _before_rounding(node: "onnx.NodeProto", graph_index: GraphIndex) -> "onnx.NodeProto":
    """Return the node whose output `node` rounds; `node` itself if it is not QuantizeLinear or DequantizeLinear."""
    while node.op_type in {"QuantizeLinear", "DequantizeLinear"} and node.input[0] in graph_index.producers:
        node = graph_index.producers[node.input[0]]
    return node


def _dequantized(name: str, graph_index: GraphIndex) -> str:
    """Return the dequantized form of `name`, which the following nodes read; `name` itself if there is none."""
    for quantize in graph_index.consumers.get(name, []):
        if quantize.op_type == "QuantizeLinear":
            for dequantize in graph_index.consumers.get(quantize.output[0], []):
                if dequantize.op_type == "DequantizeLinear":
                    return str(dequantize.output[0])
    return name
