"""How far a device's outputs may be from the host's, estimated from the model file and from the host itself.

Two processors add in other orders. In float32 that moved a ResNet's logits by 9e-6 between x86 and ARM. If every layer
rounds to integers, a sum close to a rounding boundary may move an activation by one step. Such steps add up to 0.2 to
0.4 logits, two or three steps of the output, with the same predicted classes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdbench.edge.exchange.plan import ANY_DEVIATION, Tolerance
from kdbench.modelfile.graphs.weights import nodes_of, tensors_of
from kdbench.modelfile.reading import read_model
from kdbench.worker.inputs import prepare
from kdbench.worker.jobs import JobModel
from kdbench.worker.probes.logits import class_scores, evaluate

if TYPE_CHECKING:
    import onnx

FLOAT32, FLOAT16, STEPS = 1e-5, 1e-2, 4.0
"""Relative to the largest output, the same of half precision, and in steps of an output of integers."""

_SPREADS = 4.0  # times that the host's own sums in another order may be exceeded
_LEVELS = 255  # steps of eight bits
_SAMPLES = 32  # samples that are computed in another order
_PASSING = {"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Clip", "Relu"}
_INTEGERS = {
    *("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger"),
    *("MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QGemm"),
}


def tolerance_of(path: Path, job: JobModel, outputs: NDArray[np.generic]) -> Tolerance:
    """Return the tolerance of a model whose `outputs` (N, values) the host computed; `job` has absolute paths."""
    model = read_model(path)
    largest = float(np.abs(outputs.astype(np.float64)).max())
    kind = arithmetic(model)
    if job.form in {"class", "ranking"}:
        return Tolerance(kind, ANY_DEVIATION, "the output names classes, so only changed answers count")
    if kind == "int8":
        step, origin = _step(model, job, largest, outputs)
        return Tolerance(kind, STEPS * step, f"{STEPS:g} quantization steps of {step:.3g}, {origin}", step)
    share = FLOAT32 if kind == "float32" else FLOAT16
    why = f"{share:g} of the largest output"
    allowed, spread = share * largest, _SPREADS * reordered(job, outputs)
    if spread > allowed:
        allowed, why = spread, f"{_SPREADS:g} times what the host's own sums in another order differ by"
    return Tolerance(kind, allowed, why)


def arithmetic(model: "onnx.ModelProto") -> str:
    """Return how a graph computes: `int8`, `weights` (only these are quantized), `float16` or `float32`."""
    import onnx

    nodes = list(nodes_of(model))
    operators = {node.op_type for node in nodes}
    if operators & _INTEGERS:
        return "int8"
    if operators & {"DequantizeLinear", "MatMulNBits", "DequantizeBFP"}:
        return "weights"
    half = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
    return "float16" if any(tensor.data_type in half for _, tensor in tensors_of(model)) else "float32"


def reordered(job: JobModel, outputs: NDArray[np.generic]) -> float:
    """Return how far outputs move on the host when the graph runs as it is written, without fused operators."""
    import onnxruntime

    from kdbench.worker.runtimes.onnxruntime import FAULTS, feed, session_options

    options = session_options(1, spinning=False, fallback=True)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    images = np.load(job.images, mmap_mode="r")[: max(_SAMPLES, job.fixed_batch or 1)]
    try:
        session = onnxruntime.InferenceSession(job.path, options, providers=["CPUExecutionProvider"])
        declared, batch = session.get_inputs(), job.fixed_batch or 1

        def call(inputs: NDArray[np.generic]) -> NDArray[np.generic]:
            output: NDArray[np.generic] = session.run([job.output], feed(declared, job.input, inputs))[0]
            return output

        scores = class_scores(evaluate(call, [prepare(images, job)], job.fixed_batch, batch, lambda _: None), job)
    except FAULTS:
        return 0.0  # the graph runs only when it is optimised, which shows nothing
    expected = outputs[: len(scores)]
    if scores.shape != expected.shape:
        return 0.0
    return float(np.abs(scores.astype(np.float64) - expected.astype(np.float64)).max())


def _step(model: "onnx.ModelProto", job: JobModel, largest: float, outputs: NDArray[np.generic]) -> tuple[float, str]:
    """Return the step of a model's output, and where it is from: its own scale, its last layer's, or its range."""
    if job.output_scale is not None:
        return job.output_scale[0], "the scale of the output"
    producers = {name: node for node in model.graph.node for name in node.output}
    stored = dict(tensors_of(model))
    node = producers.get(job.output)
    while node is not None and node.op_type in _PASSING:
        node = producers.get(node.input[0])
    scale = _number(stored, node.input[1]) if node is not None and node.op_type == "DequantizeLinear" else None
    if scale is not None:
        return scale, "the scale of the output"
    if node is not None and (step := _step_of_layer(node, producers, stored)) is not None:
        return step, "one step of each input of the last layer"
    spread = float(np.ptp(outputs.astype(np.float64))) or largest
    return spread / _LEVELS, "the range of the outputs in 255 steps"


def _step_of_layer(
    layer: "onnx.NodeProto", producers: "Mapping[str, onnx.NodeProto]", stored: "Mapping[str, onnx.TensorProto]"
) -> float | None:
    """Return how far an output moves if every input of a float layer with quantized inputs is off by one step.

    Rounding errors are independent: the step of the input times the norm of the output's weights, the largest of all.
    """
    if layer.op_type not in {"Gemm", "MatMul"}:
        return None
    scales = [_dequantized(name, producers, stored) for name in layer.input[:2]]
    if scales[0] is None or scales[1] is None or scales[1][1] is None or scales[1][1].ndim != 2:
        return None
    transposed = any(attribute.name == "transB" and attribute.i for attribute in layer.attribute)
    weights = scales[1][1].T if transposed else scales[1][1]
    return scales[0][0] * float(np.sqrt((weights**2).sum(axis=0)).max())


def _dequantized(
    name: str, producers: "Mapping[str, onnx.NodeProto]", stored: "Mapping[str, onnx.TensorProto]"
) -> tuple[float, NDArray[Any] | None] | None:
    """Return the scale of a dequantized value, and the value if it is stored and has one scale along an axis.

    None if it is not dequantized.
    """
    from onnx import numpy_helper

    node = producers.get(name)
    if node is None or node.op_type != "DequantizeLinear" or node.input[1] not in stored:
        return None
    scale = numpy_helper.to_array(stored[node.input[1]]).astype(np.float64)
    if node.input[0] not in stored or scale.ndim > 1:  # not stored, or with a scale for each block
        return float(scale.max()), None
    values = numpy_helper.to_array(stored[node.input[0]]).astype(np.float64)
    if len(node.input) > 2 and node.input[2] in stored:
        zero = numpy_helper.to_array(stored[node.input[2]]).astype(np.float64)
        values = values - (zero if zero.ndim == 0 else zero.reshape(_along(node, values.ndim)))
    return float(scale.max()), values * (scale if scale.ndim == 0 else scale.reshape(_along(node, values.ndim)))


def _along(node: "onnx.NodeProto", rank: int) -> tuple[int, ...]:
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    return tuple(-1 if place == axis % rank else 1 for place in range(rank))


def _number(stored: "Mapping[str, onnx.TensorProto]", name: str) -> float | None:
    from onnx import numpy_helper

    values = numpy_helper.to_array(stored[name]) if name in stored else None
    return float(values.reshape(-1)[0]) if values is not None and values.size == 1 else None
