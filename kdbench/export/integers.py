"""Folding batch norm into the layers with integer weights of an ONNX graph.

torch's exporter folds batch norm into float weights, but not through DequantizeLinear. Folding is exact, because it
changes only scales, signs and biases; see Jacob et al. 2018 (arXiv:1712.05877, section 3.2).
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import NDArray

_LAYERS = {"Conv", "Gemm"}


def fold_batch_norm(model: "ir.Model") -> None:
    """Fold each batch norm into the preceding layer with integer weights, if nothing else reads that layer's output.

    Batch norm multiplies a channel, and so its scale, by weight / √(variance + ε); if that is negative, the integers
    change sign. So only weights of a symmetric range are folded.
    """
    for norm in list(model.graph):
        if norm.op_type == "BatchNormalization" and (layer := _layer_before(norm)) is not None:
            _fold(norm, layer, model.graph)


def _layer_before(norm: "ir.Node") -> "ir.Node | None":
    """Return the layer whose output only `norm` reads, if its weights are symmetric integers, scaled by channel."""
    layer = _sole_producer(norm.inputs[0])
    if layer is None or layer.op_type not in _LAYERS:
        return None
    dequantize = _sole_producer(layer.inputs[1])
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return None
    operands = [value for value in dequantize.inputs if value is not None]
    by_output = layer.op_type == "Conv" or bool(layer.attributes.get_int("transB", 0))
    constant = all(value.is_initializer() and len(value.uses()) == 1 for value in operands[:2])
    fits = constant and by_output and dequantize.attributes.get_int("axis", 1) == 0
    return layer if fits and _is_symmetric(*operands) else None


def _is_symmetric(integers: "ir.Value", _scale: "ir.Value", zero_point: "ir.Value | None" = None) -> bool:
    """Return whether weights stay in their type when they change sign, and 0 is 0, as in files of other quantizers."""
    numbers = integers.const_value.numpy()  # type: ignore[union-attr]
    is_zero = zero_point is None or (zero_point.is_initializer() and not _values(zero_point).any())
    return is_zero and numbers.dtype == np.int8 and numbers.min() > np.iinfo(np.int8).min


def _sole_producer(value: "ir.Value | None") -> "ir.Node | None":
    """Return the node that computes `value`, if at most one other node reads it."""
    if value is None or len(value.uses()) > 1 or value.is_graph_output():
        return None
    return value.producer()


def _fold(norm: "ir.Node", layer: "ir.Node", graph: "ir.Graph") -> None:
    gamma, beta, mean, variance = (_values(value) for value in norm.inputs[1:5])
    factor = gamma / np.sqrt(variance + norm.attributes.get_float("epsilon", 1e-5))
    integers, scale = layer.inputs[1].producer().inputs[:2]  # type: ignore[union-attr]
    sign = np.where(factor < 0, -1, np.where(factor > 0, 1, 0))
    numbers = integers.const_value.numpy()  # type: ignore[union-attr]
    by_channel = sign.reshape(-1, *[1] * (numbers.ndim - 1)).astype(numbers.dtype)
    _set(integers, numbers * by_channel)
    # A channel that batch norm switches off has weights of 0 at any scale, and no scale may be 0.
    _set(scale, np.where(factor == 0, 1.0, _values(scale) * np.abs(factor)).astype(np.float32))
    before = _values(layer.inputs[2]) if len(layer.inputs) > 2 and layer.inputs[2] is not None else 0.0
    _set_bias(layer, graph, (beta + (before - mean) * factor).astype(np.float32))
    (folded,), (kept,) = norm.outputs, layer.outputs
    name = folded.name
    folded.replace_all_uses_with(kept, replace_graph_outputs=True)
    graph.remove(norm, safe=True)
    kept.name = name


def _values(value: "ir.Value | None") -> "NDArray[np.float64]":
    assert value is not None
    assert value.const_value is not None, f"{value.name} is not a constant"
    return value.const_value.numpy().astype(np.float64)


def _set(value: "ir.Value | None", numbers: "NDArray[np.generic]") -> None:
    import onnx_ir as ir

    assert value is not None
    value.const_value = ir.tensor(numbers, name=value.name)


def _set_bias(layer: "ir.Node", graph: "ir.Graph", numbers: "NDArray[np.float32]") -> None:
    import onnx_ir as ir

    tensor = ir.tensor(numbers, name=f"{layer.outputs[0].name}_bias")
    shape, dtype = ir.Shape(numbers.shape), ir.TensorType(tensor.dtype)
    bias = ir.Value(name=tensor.name, shape=shape, type=dtype, const_value=tensor)
    graph.register_initializer(bias)
    layer.resize_inputs(3)
    layer.replace_input_with(2, bias)
