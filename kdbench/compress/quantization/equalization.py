"""Cross-layer equalization: make the weight ranges of neighbouring layers equal, channel by channel, without data.

Nagel, van Baalen, Blankevoort, Welling 2019, Data-Free Quantization Through Weight Equalization and Bias Correction
(arXiv:1906.04721), section 4.1. A positive factor passes through ReLU: f(s·x) = s·f(x). So the output channels of one
layer may be divided by s and the matching input channels of the next multiplied by s. In floating point, the result of
the network is unchanged; in integers, no channel has to share a scale with one that is a hundred times wider.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kdbench.compress.graph_index import LAYERS, GraphIndex, attribute, lift_constants
from kdbench.modelfile.graphs.weights import STANDARD

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    Indices = NDArray[np.intp]

_SWEEPS = 100
_CONVERGED = 1e-4  # a sweep that changes no factor by more ends the search
_DEAD = 1 / 127  # a channel's range over the widest one's: all its weights round to zero in 8 bits

# Operators that process each channel separately and let a positive factor pass: f(s·x) = s·f(x).
_HOMOGENEOUS = {"Relu", "LeakyRelu", "Identity", "MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool"}


@dataclass(frozen=True)
class Pair:
    """Two layers whose channels can be rescaled against each other.

    The `channels` outputs of the first are the inputs of the second, each `repeats` times if a feature map is flattened
    between them. `shifts` are the names of the first layer's constant offsets: its bias and those of a later Add.
    """

    first: "onnx.NodeProto"
    second: "onnx.NodeProto"
    channels: int
    repeats: int
    shifts: tuple[str, ...]


def equalize(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return a copy of `model` in which each pair's weights have the same range in every channel.

    With r₁ and r₂ the largest magnitudes of a channel in both layers, s = √(r₁/r₂) leaves both at √(r₁·r₂) (equation
    11 of the paper); all pairs are rescaled repeatedly until no factor changes. A model without pairs is returned
    unchanged.
    """
    copy = type(model)()
    copy.CopyFrom(model)
    lift_constants(copy.graph)
    graph_index = GraphIndex.of(copy.graph)
    pairs = find_pairs(copy)
    weights: dict[str, NDArray[np.float64]] = {}
    balances = [_Balance(pair, graph_index, weights) for pair in pairs]
    for _ in range(_SWEEPS):
        if max((balance.rescale() for balance in balances), default=0.0) < _CONVERGED:
            break
    for name, array in weights.items():
        graph_index.replace(name, array)
    return copy if pairs else model


def find_pairs(model: "onnx.ModelProto") -> list[Pair]:
    """Return the pairs of layers that can be equalized, in the graph's order.

    Layers are convolutions (including depthwise, grouped and transposed ones), Gemm, and MatMul with constant weights.
    Between two of them, operators are allowed that let a positive factor per channel pass: ReLU and its leaky forms,
    pooling, flattening, padding with zeros, adding a bias. There is no pair if two layers share weights, if a tensor
    between them has other readers (such as a skip connection), or if an activation is bounded (such as ReLU6).
    """
    graph_index, sizes = GraphIndex.of(model.graph), _sizes(model)
    candidates = (_pair_from(node, graph_index, sizes) for node in model.graph.node if _is_layer(node, graph_index))
    return [pair for pair in candidates if pair is not None]


def _sizes(model: "onnx.ModelProto") -> dict[str, int]:
    """Return how many numbers one sample has in each tensor, as far as the shapes are known."""
    import onnx

    if all(node.op_type != "Reshape" for node in model.graph.node):
        return {}
    shaped = onnx.shape_inference.infer_shapes(model).graph.value_info
    dims = {value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in shaped}
    return {name: math.prod(shape[1:]) for name, shape in dims.items() if len(shape) > 1 and all(shape[1:])}


def _is_layer(node: "onnx.NodeProto", graph_index: GraphIndex) -> bool:
    if node.op_type not in LAYERS or node.domain not in STANDARD or attribute(node, "transA", 0):
        return False
    weight = graph_index.array(node.input[1])
    flat = node.op_type in {"Gemm", "MatMul"}
    return (
        weight is not None
        and weight.dtype in {np.dtype(np.float32), np.dtype(np.float64)}
        and (weight.ndim == 2 if flat else weight.ndim > 2)
        and graph_index.uses[node.input[1]] == 1
        and bool(np.isfinite(weight).all())
    )


def _pair_from(first: "onnx.NodeProto", graph_index: GraphIndex, sizes: dict[str, int]) -> Pair | None:
    """Return the pair of `first` and the only layer that reads its output; None if there is none."""
    weight = graph_index.array(first.input[1])
    assert weight is not None
    channels = int(_channels(first, graph_index)[0].max()) + 1
    flat = first.op_type in {"Gemm", "MatMul"}
    offset = -1 if flat else 1 - weight.ndim  # the channel axis, counted from the last axis
    shifts = [first.input[2]] if len(first.input) > 2 and first.input[2] else []
    if shifts and not _is_shift(shifts[0], channels, -1, graph_index):
        return None
    name, flattened = first.output[0], False
    while (node := graph_index.sole_consumer(name)) is not None:
        if _is_layer(node, graph_index):
            return _pair(first, node, channels, shifts, graph_index) if node.input[0] == name else None
        if node.op_type == "Add" and not flattened:
            other = node.input[1] if node.input[0] == name else node.input[0]
            if not _is_shift(other, channels, offset, graph_index):
                return None
            shifts.append(other)
        elif not (flat or flattened) and _flattens(node, graph_index, sizes):
            flattened = True
        elif not _passes(node, graph_index, channels, offset, spatial=not (flat or flattened)):
            return None
        name = node.output[0]
    return None


def _is_shift(name: str, channels: int, offset: int, graph_index: GraphIndex) -> bool:
    """Return whether `name` is a stored tensor with one number per channel that nothing else reads."""
    array = graph_index.array(name)
    if array is None or graph_index.uses[name] != 1 or array.dtype.kind != "f" or array.ndim < -offset:
        return False
    return bool(array.shape[offset] == channels == array.size)


def _passes(node: "onnx.NodeProto", graph_index: GraphIndex, channels: int, offset: int, *, spatial: bool) -> bool:
    """Return whether a positive factor per channel passes through `node`, and no other output of it is read."""
    if node.domain not in STANDARD or any(graph_index.uses[name] for name in node.output[1:]):
        return False
    match node.op_type:
        case "PRelu":
            slope = graph_index.array(node.input[1])
            by_channel = slope is not None and slope.ndim >= -offset and slope.shape[offset] == channels == slope.size
            return slope is not None and (slope.size == 1 or by_channel)
        case "Dropout":
            return len(node.input) < 3 or not node.input[2]  # without training mode
        case "Pad":
            fill = (
                graph_index.array(node.input[2])
                if len(node.input) > 2 and node.input[2]
                else attribute(node, "value", 0)
            )
            padded = _padded_axes(node, graph_index)
            constant = attribute(node, "mode", b"constant") == b"constant"
            return spatial and padded is not None and padded.isdisjoint({0, 1}) and (not constant or not np.any(fill))
        case _:
            return node.op_type in _HOMOGENEOUS


def _padded_axes(node: "onnx.NodeProto", graph_index: GraphIndex) -> set[int] | None:
    if len(node.input) > 3:  # with a list of axes: no exporter writes it
        return None
    pads = graph_index.array(node.input[1]) if len(node.input) > 1 else attribute(node, "pads", None)
    if pads is None:
        return None
    begin, end = np.split(np.asarray(pads), 2)
    return {axis for axis, (one, other) in enumerate(zip(begin, end, strict=True)) if one or other}


def _flattens(node: "onnx.NodeProto", graph_index: GraphIndex, sizes: dict[str, int]) -> bool:
    """Return whether `node` flattens feature maps to vectors in which the positions of each channel are contiguous."""
    if node.domain not in STANDARD:
        return False
    if node.op_type == "Flatten":
        return bool(attribute(node, "axis", 1) == 1)
    if node.op_type == "Reshape":
        shape = graph_index.array(node.input[1])
        if shape is None or shape.shape != (2,) or attribute(node, "allowzero", 0):
            return False
        # The batch axis stays, and the rest of a sample becomes one vector.
        return bool(shape[0] == 0 or shape[1] == sizes.get(node.input[0]))
    if node.op_type in {"ReduceMean", "ReduceSum", "ReduceMax", "Squeeze"}:
        axes = graph_index.array(node.input[1]) if len(node.input) > 1 else attribute(node, "axes", None)
        removed = node.op_type == "Squeeze" or not attribute(node, "keepdims", 1)
        return axes is not None and removed and sorted(np.asarray(axes).tolist()) in ([2, 3], [-2, -1])
    return False


def _pair(
    first: "onnx.NodeProto", second: "onnx.NodeProto", channels: int, shifts: list[str], graph_index: GraphIndex
) -> Pair | None:
    _, inputs = _channels(second, graph_index)
    count = int(inputs.max()) + 1
    return None if count % channels else Pair(first, second, channels, count // channels, tuple(shifts))


def _channels(node: "onnx.NodeProto", graph_index: GraphIndex) -> "tuple[Indices, Indices]":
    """Return which output and which input channel each weight belongs to, two arrays in the shape of the weights."""
    weight = graph_index.array(node.input[1])
    assert weight is not None
    tail = (1,) * (weight.ndim - 2)
    rows, columns = (np.arange(size) for size in weight.shape[:2])
    rows, columns = rows.reshape(-1, 1, *tail), columns.reshape(1, -1, *tail)
    groups = attribute(node, "group", 1)
    of_group = rows // (weight.shape[0] // groups) * weight.shape[1] + columns
    if node.op_type == "Conv":
        outputs, inputs = rows, of_group
    elif node.op_type == "ConvTranspose":
        outputs, inputs = of_group, rows
    elif attribute(node, "transB", 0):
        outputs, inputs = rows, columns
    else:
        outputs, inputs = columns, rows
    return np.broadcast_to(outputs, weight.shape), np.broadcast_to(inputs, weight.shape)


class _Balance:
    """The weights of a pair and their channels, while they are rescaled in float64."""

    def __init__(self, pair: Pair, graph_index: GraphIndex, weights: "dict[str, NDArray[np.float64]]") -> None:
        self._outputs = _channels(pair.first, graph_index)[0]
        self._inputs = _channels(pair.second, graph_index)[1] // pair.repeats
        for name in (pair.first.input[1], pair.second.input[1], *pair.shifts):
            array = graph_index.array(name)
            assert array is not None
            weights.setdefault(name, array.astype(np.float64))
        self._first, self._second = weights[pair.first.input[1]], weights[pair.second.input[1]]
        self._shifts = [weights[name] for name in pair.shifts]
        self._channels = pair.channels

    def rescale(self) -> float:
        """Rescale each channel to the same range in both layers; return the largest |ln s| of this step."""
        factor = self._factors(self._range(self._first, self._outputs), self._range(self._second, self._inputs))
        self._first /= factor[self._outputs]
        self._second *= factor[self._inputs]
        for shift in self._shifts:
            np.divide(shift, factor.reshape(shift.shape), out=shift)
        return float(np.abs(np.log(factor)).max(initial=0.0))

    def _factors(self, first: "NDArray[np.float64]", second: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Return s for the ranges of both layers' channels.

        A dead channel, as training may produce, still adds its offset. Divided by a tiny s, the offset would widen the
        range of the whole activation. So s is at least large enough to keep it below the offsets of other channels, and
        at most so large that its weights stay below theirs.
        """
        both = (first > 0) & (second > 0)
        factor = np.sqrt(np.divide(first, second, out=np.ones_like(first), where=both))
        middle = np.sqrt(first * second)
        dead = (middle < _DEAD * middle.max()) & (second > 0)
        offsets = sum((np.abs(shift).ravel() for shift in self._shifts), np.zeros_like(first))
        widest = (offsets / factor)[~dead].max(initial=0.0)
        if widest:
            lowest, highest = offsets[dead] / widest, middle.max() / second[dead]
            factor[dead] = np.minimum(np.maximum(factor[dead], lowest), highest)
        return factor

    def _range(self, weight: "NDArray[np.float64]", channels: "Indices") -> "NDArray[np.float64]":
        ranges = np.zeros(self._channels)
        np.maximum.at(ranges, channels.ravel(), np.abs(weight).ravel())
        return ranges
