"""Keeping layers of a quantized file in float when onnxruntime loads it.

When onnxruntime 1.22 or later loads a file, a basic optimisation (WeightBiasQuantization) rounds the float weights of a
Conv, ConvTranspose or Gemm between DequantizeLinear and QuantizeLinear to 8 bits per tensor. It also does so for a
layer that was excluded from quantization because of its weights, but only if the input is dequantized with a single
scale, so such a layer gets its own DequantizeLinear with the same scale repeated for each channel.
"""

from typing import TYPE_CHECKING

import numpy as np

from kdbench.compress.graph_index import GraphIndex, attribute
from kdbench.modelfile.graphs.graph import opset

if TYPE_CHECKING:
    import onnx

_ROUNDED = {"Conv", "ConvTranspose", "Gemm"}
_OPSET = 13  # DequantizeLinear has scales by channel from here on


def shield_float_layers(model: "onnx.ModelProto") -> list[str]:
    """Change `model`, in QDQ form, so that layers with float weights keep them; return the names of their outputs.

    The file computes the same, bit for bit.
    """
    import onnx

    graph_index, shielded = GraphIndex.of(model.graph), []
    if opset(model) < _OPSET:
        return []
    for node in list(model.graph.node):
        weight = graph_index.array(node.input[1]) if node.op_type in _ROUNDED else None
        source = graph_index.producers.get(node.input[0]) if weight is not None else None
        if weight is None or weight.dtype != np.float32 or source is None or source.op_type != "DequantizeLinear":
            continue
        scale = graph_index.array(source.input[1])
        if scale is None or scale.size != 1 or attribute(node, "transA", 0):
            continue
        channels = _input_channels(node, weight.shape)
        stem = f"{node.output[0]}/float_input"
        names = [source.input[0], f"{stem}_scale"]
        added = [onnx.numpy_helper.from_array(np.full(channels, scale.item(), scale.dtype), names[1])]
        if len(source.input) > 2 and (zero := graph_index.array(source.input[2])) is not None:
            names.append(f"{stem}_zero_point")
            added.append(onnx.numpy_helper.from_array(np.full(channels, zero.item(), zero.dtype), names[2]))
        model.graph.initializer.extend(added)
        dequantize = onnx.helper.make_node("DequantizeLinear", names, [stem], name=stem, axis=1)
        model.graph.node.insert(list(model.graph.node).index(source) + 1, dequantize)
        node.input[0] = stem
        shielded.append(node.output[0])
        if not any(source.output[0] in other.input for other in model.graph.node):
            model.graph.node.remove(source)
    return shielded


def _input_channels(node: "onnx.NodeProto", shape: tuple[int, ...]) -> int:
    if node.op_type == "Conv":
        return int(shape[1] * attribute(node, "group", 1))
    return int(shape[1] if node.op_type == "Gemm" and attribute(node, "transB", 0) else shape[0])
