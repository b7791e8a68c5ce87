"""Bias correction: subtract the mean error that quantization adds to each channel from the bias.

Rounded weights and activations shift the mean of a layer's output. Nagel et al. 2019 (arXiv:1906.04721, section 4.2 and
appendix D) subtract the expected shift E[ỹ] − E[y] of each channel from the bias, layer by layer from the input on, so
that each shift is measured with all earlier layers corrected.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kdbench.compress.graph_index import GraphIndex, attribute
from kdbench.compress.observing import Samples
from kdbench.compress.quantization.matching import Match, match_layers

if TYPE_CHECKING:
    import onnx

_CORRECTED = "/corrected_bias"
_WITH_BIAS = {"Conv", "ConvTranspose", "Gemm"}
_BIAS = np.iinfo(np.int32)


def correct_biases(floating: "onnx.ModelProto", quantized: "onnx.ModelProto", samples: Samples) -> "onnx.ModelProto":
    """Return a copy of `quantized` with corrected biases.

    `quantized` is the QDQ form of `floating`, with the same tensor names. Means are over the samples and the positions
    of a feature map, in floating point, so that the file is the same on every CPU. A layer without a bias gets one;
    MatMul, which cannot have one, stays. Raises InputError for files that do not belong together.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(quantized)
    matches = [match for match in match_layers(floating, quantized) if match.operator in _WITH_BIAS]
    expected = _means(floating, {match.exact for match in matches}, samples)
    for match in matches:
        layer = GraphIndex.of(copy.graph).producers[match.computed]
        if layer.op_type not in _WITH_BIAS or not attribute(layer, "beta", 1.0):
            continue
        actual = _means(copy, [match.computed], samples)[match.computed]
        shift = actual - expected[match.exact]
        _subtract(copy, match, shift / attribute(layer, "beta", 1.0))
    return copy


def _means(model: "onnx.ModelProto", names: Iterable[str], samples: Samples) -> dict[str, NDArray[np.float64]]:
    """Return the mean of each channel of each tensor; channels are axis 1, also of a Gemm's output."""
    names, parts = list(names), samples.parts()
    if not names:
        return {}
    observer = samples.observer(model, names, simulated=True)
    sums = {name: np.zeros(1) for name in names}
    for part in parts:
        for name, values in observer(part).items():
            places = tuple(axis for axis in range(values.ndim) if axis != 1)
            sums[name] = sums[name] + values.mean(axis=places, dtype=np.float64) * len(part)
    total = sum(map(len, parts))
    return {name: values / total for name, values in sums.items()}


def _subtract(model: "onnx.ModelProto", match: Match, shift: NDArray[np.float64]) -> None:
    """Subtract `shift`, one number per channel, from the bias of a layer of `model`."""
    import onnx

    graph_index, graph = GraphIndex.of(model.graph), model.graph
    layer = graph_index.producers[match.computed]
    place = list(graph.node).index(layer)
    has_bias = len(layer.input) > 2 and bool(layer.input[2])
    values = _values(layer.input[2], graph_index) if has_bias else np.zeros(len(shift))
    scale = _scale(layer, graph_index) if not has_bias else _dequantizing_scale(layer.input[2], graph_index)
    if values is None:  # computed while the model runs
        return
    corrected = np.broadcast_to(values.reshape(-1), shift.shape) - shift
    name = match.computed + _CORRECTED
    if scale is None:
        graph.initializer.append(onnx.numpy_helper.from_array(corrected.astype(np.float32), name))
    else:
        integers = np.clip(np.round(corrected / scale), _BIAS.min, _BIAS.max).astype(np.int32)
        graph.initializer.append(onnx.numpy_helper.from_array(integers, f"{name}_quantized"))
        graph.initializer.append(onnx.numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale"))
        names = [f"{name}_quantized", f"{name}_scale"]
        graph.node.insert(place, onnx.helper.make_node("DequantizeLinear", names, [name], name=name, axis=0))
        layer = graph.node[place + 1]
    before = layer.input[2] if has_bias else ""
    if len(layer.input) > 2:
        layer.input[2] = name
    else:
        layer.input.append(name)
    _drop(model, before)


def _values(name: str, graph_index: GraphIndex) -> NDArray[np.float64] | None:
    """Return a bias in floating point, None if it is not stored."""
    if (stored := graph_index.array(name)) is not None:
        return stored.astype(np.float64)
    scale, source = _dequantizing_scale(name, graph_index), graph_index.producers.get(name)
    integers = graph_index.array(source.input[0]) if source is not None else None
    return None if scale is None or integers is None else integers.astype(np.float64) * scale


def _dequantizing_scale(name: str, graph_index: GraphIndex) -> NDArray[np.float64] | None:
    """Return the scale of a stored tensor that DequantizeLinear reads, None if there is none."""
    source = graph_index.producers.get(name)
    if source is None or source.op_type != "DequantizeLinear":
        return None
    scale = graph_index.array(source.input[1])
    return None if scale is None else scale.astype(np.float64)


def _scale(layer: "onnx.NodeProto", graph_index: GraphIndex) -> NDArray[np.float64] | None:
    """Return the scale of an integer bias: that of the input times that of the weights; None for float layers."""
    scales = [_dequantizing_scale(name, graph_index) for name in layer.input[:2]]
    if scales[0] is None or scales[1] is None or scales[0].size != 1:
        return None
    return scales[0].reshape(-1)[0] * scales[1]  # type: ignore[no-any-return]


def _drop(model: "onnx.ModelProto", name: str) -> None:
    """Remove a bias that nothing reads any more, with the node and the tensors that it was computed from."""
    graph_index = GraphIndex.of(model.graph)
    if not name or graph_index.uses[name]:
        return
    if name in graph_index.stored:
        model.graph.initializer.remove(graph_index.stored[name])
    elif name in graph_index.producers:
        node = graph_index.producers[name]
        inputs = list(node.input)
        model.graph.node.remove(node)
        for read in inputs:
            _drop(model, read)
