"""The first operations of a graph on its input: dequantization with a scale, and normalisation of pixels."""

import math
from typing import TYPE_CHECKING

from kdbench.modelfile.formats.external_data import is_external
from kdbench.modelfile.graphs.graph import OF_SHAPES, attribute_of, constants_of, scale_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import onnx
    from numpy.typing import NDArray

# Operators after which the values have the same range: they are moved, selected, or mixed by weights of sum 1.
_MOVED = {
    *("Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"),
    *("Slice", "Gather", "GatherND", "Pad", "Clip", "Resize", "Upsample"),
}
_PARTS = {"Slice", "Gather", "Split"}  # several of them may read one value, such as one for each channel
# The operands of operators on integers whose scale and zero point follow them.
_SCALED_OPERANDS = {
    "DequantizeLinear": (0,),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearMul", "QGemm"), (0, 3)),
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool"), (0,)),
}
_EPSILON = 1e-5  # of a BatchNormalization that names none
# Of pixels from 0 to 255, normalisations subtract a mean of at least 32, such as 103.9, or divide by 25 (the least
# deviation of a channel) to 300, such as 58.4, 127.5 and 255. Values from 0 to 1 have means and deviations up to 1.
_MEAN, _STD = (32, 255), (25, 300)
_BRIGHTEST = (64, 300)  # what a quantized input of such pixels reaches, from 0 on
_UINT8 = 2  # of ONNX's element types
_LEVELS = {_UINT8: (0, 255), 3: (-128, 127), 4: (0, 65535), 5: (-32768, 32767)}  # of ONNX's integers of 8 and 16 bits


def input_quantization(model: "onnx.ModelProto", name: str) -> tuple[float, int] | None:
    """Return the scale and the zero point that a graph reads its integer input `name` with; None if it has none.

    The input may be moved first, and several operators may read it with the same scale.
    """
    constants, readers = constants_of(model), _readers(model)
    pending, scales = [name], set[tuple[float, int] | None]()
    while pending:
        read = pending.pop()
        for node in readers.pop(read, []):  # a damaged graph may go round
            if node.op_type in _MOVED - {"Cast"} and read == node.input[0]:
                pending += node.output[:1]
            else:
                scales.add(_scale_of_operand(node, read, constants))
    return scales.pop() if len(scales) == 1 else None


def _scale_of_operand(
    node: "onnx.NodeProto", read: str, constants: "Mapping[str, onnx.TensorProto]"
) -> tuple[float, int] | None:
    """Return the scale and the zero point of the operand `read` of `node`; None for operators that have none."""
    places = (place for place in _SCALED_OPERANDS.get(node.op_type, ()) if node.input[place : place + 1] == [read])
    return next((scale_of(node, place + 1, constants) for place in places), None)


def scales_pixels(model: "onnx.ModelProto", name: str) -> bool:
    """Return whether a graph begins with a normalisation of its input `name` that is one of pixels from 0 to 255.

    It may be written as Sub, Add, Mul and Div by constants, as a BatchNormalization, or as a 1×1 convolution of each
    channel alone, for all channels or for slices of single ones. Where the graph quantizes the input first, the range
    of its integers decides.
    """
    import numpy as np

    constants, readers = constants_of(model), _readers(model)
    pending = [(name, np.ones(1), np.zeros(1))]  # the value is input * factor + offset
    while pending:
        read, factor, offset = pending.pop()
        reading = readers.pop(read, [])  # a damaged graph may go round
        moving = reading and all(node.op_type in _PARTS and read == node.input[0] for node in reading)
        if moving or (len(reading) == 1 and reading[0].op_type in _MOVED and read == reading[0].input[0]):
            parts = [part for node in reading for part in node.output if part in readers]
            pending += [(part, factor, offset) for part in parts]
            if parts:
                continue
        elif len(reading) == 1:
            if reading[0].op_type == "QuantizeLinear" and (factor == 1).all() and not offset.any():
                return _rounds_pixels(reading[0], constants)
            step = _normalised(reading[0], constants)
            if step is not None and _fit(factor, offset, *step):
                pending += [(part, factor * step[0], offset * step[0] + step[1]) for part in reading[0].output[:1]]
                continue
        if not _is_of_pixels(factor, offset):
            return False
    return True


def _fit(*arrays: "NDArray[np.float64]") -> bool:
    """Return whether arrays can be broadcast; channels first do not meet channels last."""
    import numpy as np

    try:
        np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        return False
    return True


def _is_of_pixels(factor: "NDArray[np.float64]", offset: "NDArray[np.float64]") -> bool:
    """Return whether `input * factor + offset` normalises pixels from 0 to 255."""
    import numpy as np

    if not (factor.size and offset.size and factor.all()):
        return False
    means, stds = np.abs(offset / factor), np.abs(1 / factor)
    return bool((_STD[0] <= stds).all() and (stds <= _STD[1]).all()) or bool(_MEAN[0] <= means.max() <= _MEAN[1])


def _rounds_pixels(node: "onnx.NodeProto", constants: "Mapping[str, onnx.TensorProto]") -> bool:
    """Return whether a QuantizeLinear rounds pixels of 0 to 255: its integers reach from 0 to about that."""
    quantization, zero_point = scale_of(node, 1, constants), constants.get([*node.input, "", ""][2])
    type_ = (attribute_of(node, "output_dtype", 0) or _UINT8) if zero_point is None else zero_point.data_type
    levels = _LEVELS.get(type_)
    if quantization is None or levels is None or quantization[1] != levels[0]:
        return False
    return _BRIGHTEST[0] <= (levels[1] - levels[0]) * quantization[0] <= _BRIGHTEST[1]


def _readers(model: "onnx.ModelProto") -> "dict[str, list[onnx.NodeProto]]":
    """Return the nodes that read each value of a graph, apart from those that read its shape."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in (node for node in model.graph.node if node.op_type not in OF_SHAPES):
        for read in {*node.input}:
            readers.setdefault(read, []).append(node)
    return readers


def _normalised(
    node: "onnx.NodeProto", constants: "Mapping[str, onnx.TensorProto]"
) -> "tuple[NDArray[np.float64], NDArray[np.float64]] | None":
    """Return the factor and the offset that `node` applies to the value it reads; None if it does something else."""
    import numpy as np
    from onnx import numpy_helper

    stored = [constants.get(other) for other in node.input]
    known = [None if tensor is None or is_external(tensor) else tensor for tensor in stored]
    values = [np.zeros(0) if tensor is None else numpy_helper.to_array(tensor).astype(np.float64) for tensor in known]
    if node.op_type == "BatchNormalization" and None not in known[3:5]:
        factor = 1 / np.sqrt(values[4] + attribute_of(node, "epsilon", _EPSILON))
        return factor, -values[3] * factor
    if node.op_type == "Conv" and len(known) > 1 and None not in known[1:]:
        bias = values[2] if len(values) > 2 else np.zeros(1)
        return _scaled_channels(values[1], bias, attribute_of(node, "group", 1))
    if node.op_type not in {"Add", "Sub", "Mul", "Div"} or sum(tensor is not None for tensor in known) != 1:
        return None
    value = next(one for one, tensor in zip(values, known, strict=True) if tensor is not None)
    one, zero = np.ones(1), np.zeros(1)
    if node.op_type in {"Add", "Mul"}:
        return (one, value) if node.op_type == "Add" else (value, zero)
    if known[1] is None or (not value.all() and node.op_type == "Div"):  # a constant minus, or divided by, the input
        return None
    return (one, -value) if node.op_type == "Sub" else (1 / value, zero)


def _scaled_channels(
    weights: "NDArray[np.float64]", bias: "NDArray[np.float64]", groups: int
) -> "tuple[NDArray[np.float64], NDArray[np.float64]] | None":
    """Return the factor and the offset of a 1×1 convolution with an output for each channel; None for another one."""
    import numpy as np

    pointwise = weights.ndim > 2 and math.prod(weights.shape[2:]) == 1
    if not pointwise or len(weights) != groups * weights.shape[1]:
        return None
    if (np.count_nonzero(weights, axis=(*range(1, weights.ndim),)) != 1).any():
        return None
    channels_first = (-1, *weights.shape[2:])
    return weights.reshape(len(weights), -1).sum(axis=1).reshape(channels_first), bias.reshape(channels_first)
