"""How many weights an ONNX file holds, and how many bytes they take. External weights are counted, not read."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from kdbench.measure.macs.onnx_shapes import load_graph

# Inputs that steer an operator and were not learned: scales, zero points, bounds; and running statistics, which
# torch does not call parameters either.
_NOT_LEARNED: dict[str, frozenset[int]] = {
    "BatchNormalization": frozenset({3, 4}),
    "Clip": frozenset({1, 2}),
    "Pad": frozenset({2}),
    "Resize": frozenset({1, 2}),
    "Upsample": frozenset({1}),
    "QuantizeLinear": frozenset({1, 2}),
    "DequantizeLinear": frozenset({1, 2}),
    "QLinearConv": frozenset({1, 2, 4, 5, 6, 7}),
    "QLinearMatMul": frozenset({1, 2, 4, 5, 6, 7}),
    "QGemm": frozenset({1, 2, 4, 5, 7, 8}),
}

# Where integers are weights: quantized ones.
_QUANTIZED: dict[str, frozenset[int]] = {
    "DequantizeLinear": frozenset({0}),
    "QLinearConv": frozenset({3, 8}),
    "QLinearMatMul": frozenset({3}),
    "QGemm": frozenset({3, 6}),
    "ConvInteger": frozenset({1}),
    "MatMulInteger": frozenset({0, 1}),
}


def parameters_and_bytes(path: Path) -> tuple[int, int]:
    """Return the number of weights of the ONNX file at `path` and the bytes they take, external ones included.

    Weights are the stored floating-point tensors, and the integer ones that stand for them in a quantized graph,
    that feed an operator as something learned; a tensor stored once counts once. Batch norm that was folded into
    its convolution on export leaves one weight per channel where torch had two. Raises InputError for a file
    that is no model.
    """
    model = load_graph(path)
    uses: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            uses[name].append((node.op_type, position))
    weights = [tensor for name, tensor in _stored(model).items() if _is_weight(tensor, uses[name])]
    return sum(math.prod(w.dims) for w in weights), sum(math.prod(w.dims) * _bits(w) // 8 for w in weights)


def _stored(model: Any) -> dict[str, Any]:
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        tensors = [attribute.t for attribute in node.attribute if attribute.name == "value"]
        if node.op_type == "Constant" and tensors:
            stored[node.output[0]] = tensors[0]
    return stored


def _is_weight(tensor: Any, uses: list[tuple[str, int]]) -> bool:
    if _is_float(tensor):
        learned = any(position not in _NOT_LEARNED.get(op, ()) for op, position in uses)
        return learned and len(tensor.dims) > 0  # A scalar is a constant of a formula.
    return any(position in _QUANTIZED.get(op, ()) for op, position in uses)


def _is_float(tensor: Any) -> bool:
    from onnx import TensorProto

    return "FLOAT" in TensorProto.DataType.Name(tensor.data_type) or tensor.data_type == TensorProto.DOUBLE


def _bits(tensor: Any) -> int:
    from onnx import TensorProto, helper

    name = TensorProto.DataType.Name(tensor.data_type)
    return (
        4 if "4" in name and "64" not in name else 8 * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    )
