"""The stored tensors of an ONNX graph without trained numbers: statistics, scales, shapes, masks, filled tensors."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.modelfile.formats.external_data import read_external

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    import numpy as np
    import onnx
    from numpy.typing import NDArray

# Operands that are stored as tensors but are not trained: running statistics, scales, zero points, shapes, limits.
_UNTRAINED: dict[str, tuple[int, ...]] = {
    "BatchNormalization": (3, 4),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
    "Clip": (1, 2),
    "Pad": (2,),
    "Slice": (1, 2, 3, 4),  # these may have 32 bits, as indices may
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND"), (1,)),
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
    "DynamicQuantizeMatMul": (2, 3),
    "MatMulIntegerToFloat": (2, 3, 4, 5),
    "QGemm": (1, 2, 4, 5, 7, 8),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (4,)),  # the lengths of the sequences
    "DynamicQuantizeLSTM": (4, 8, 9, 10, 11),
    "QAttention": (3, 4, 6, 7),
    "MatMulNBits": (2, 3, 4),
    "MatMulBnb4": (2,),
    "GatherBlockQuantized": (2, 3),
    "RotaryEmbedding": (1, 2, 3),  # sines and cosines, and the positions
    "GroupQueryAttention": (5, 6, 7, 8, 9),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearMul"), (1, 2, 4, 5, 6, 7)),
    **dict.fromkeys(("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax"), (1, 2, 3, 4)),
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool"), (1, 2, 3, 4)),
}

_NORMALISING = {"Sub", "Div", "Mul", "Add"}
_MOVING = {"Cast", "Identity", "Transpose"}
# The operands of norms that are constants of one repeated number where nothing is trained, and those of recurrent
# layers that hold the state before the first step.
_OF_NORMS = dict.fromkeys(("BatchNormalization", "InstanceNormalization", "LayerNormalization"), (1, 2))
_STATES = {**dict.fromkeys(("LSTM", "DynamicQuantizeLSTM"), (5, 6)), **dict.fromkeys(("GRU", "RNN"), (5,))}
_FORMING = _MOVING | {"Expand", "Slice", "Reshape", "Squeeze", "Unsqueeze", "Split", "Gather", "Tile"}
_MASKED = {"Add": (0, 1), "Attention": (3, 5), "MultiHeadAttention": (5,)}
_FLOATS = {1, 10, 11, 16}  # ONNX element types: float32, float16, float64, bfloat16
_LEAST_MASK = -100.0  # masks add this, as in Swin, or less to what is not attended to, and 0 to the rest


def untrained_operands(nodes: "Iterable[onnx.NodeProto]") -> "Iterator[str]":
    """Yield the operands of `nodes` that hold no weights: statistics, scales, zero points, shapes, limits."""
    yield from _operands(nodes, _UNTRAINED)


def _operands(nodes: "Iterable[onnx.NodeProto]", places: "Mapping[str, tuple[int, ...]]") -> "Iterator[str]":
    for node in nodes:
        yield from (node.input[place] for place in places.get(node.op_type, ()) if place < len(node.input))


def normalising(model: "onnx.ModelProto", tensors: "Mapping[str, onnx.TensorProto]") -> "Iterator[str]":
    """Yield those of `tensors` that the input is normalised with: a number, or one for each channel."""
    read = {value.name for value in model.graph.input} - set(tensors)
    for node in model.graph.node:
        others = [name for name in node.input if name not in read]
        if len(others) == len(node.input) or node.op_type not in _NORMALISING | _MOVING:
            continue
        shapes = [tensors[name].dims for name in others if name in tensors]
        if len(shapes) == len(others) and all(math.prod(dims) == max(dims, default=1) for dims in shapes):
            read.update(node.output)
            yield from others


def scales_of_dynamic_ranges(nodes: "Sequence[onnx.NodeProto]") -> "Iterator[str]":
    """Yield the scales of weights that dynamic scales of activations are multiplied with."""
    dynamic = {node.output[1] for node in nodes if node.op_type == "DynamicQuantizeLinear" and len(node.output) > 1}
    for node in nodes:
        if node.op_type == "Mul" and dynamic.intersection(node.input):
            yield from (name for name in node.input if name not in dynamic)


def filled(
    nodes: "Sequence[onnx.NodeProto]", tensors: "Mapping[str, onnx.TensorProto]", written: "Container[str]", path: Path
) -> "Iterator[str]":
    """Yield those of `tensors`, of the model at `path`, that an exporter fills or computes, by their content.

    They are zeros as the first state of recurrent layers, masks of attention, and, of those that the exporter has
    `written` itself, the ones and zeros of norms without trained numbers.
    """
    producers = {name: node for node in nodes for name in node.output}
    for state in _operands(nodes, _STATES):
        name, seen = state, set[str]()
        while name not in tensors and name not in seen and name in producers:
            seen.add(name)
            node = producers[name]
            name = node.input[0] if node.op_type in _FORMING and node.input else ""
        if name in tensors and not _content(tensors[name], path).any():
            yield name
    for name in {*_operands(nodes, _OF_NORMS)}:
        if name in tensors and name in written and len(set(_content(tensors[name], path).flat)) == 1:
            yield name
    for name in {*_operands(nodes, _MASKED)}:
        if name in tensors and _is_mask(_content(tensors[name], path)):
            yield name


def _is_mask(values: "NDArray[np.float64]") -> bool:
    masked = values <= _LEAST_MASK
    return bool(masked.any() and (masked | (values == 0)).all())


def _content(tensor: "onnx.TensorProto", path: Path) -> "NDArray[np.float64]":
    """Return the numbers of a tensor of floats, external ones too; a single NaN for another type."""
    import numpy as np
    from onnx import numpy_helper

    if tensor.data_type not in _FLOATS:
        return np.full(1, np.nan)
    whole = type(tensor)()
    whole.CopyFrom(tensor)
    read_external([whole], path)
    numbers: NDArray[np.float64] = numpy_helper.to_array(whole).astype(np.float64)
    return numbers
