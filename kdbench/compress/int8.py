"""Static INT8: weights and activations as 8-bit integers, with ranges from calibration inputs.

onnxruntime writes the QDQ form: QuantizeLinear and DequantizeLinear around float operators, which the runtime replaces
by integer kernels where it has one. The ranges are ours (`ranges`), handed over in its calibration cache.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kdbench import storage, temporary
from kdbench.compress import COMPRESSORS, Compressor, Outcome, Source
from kdbench.compress.activations import activations, refused
from kdbench.compress.equalization import equalize
from kdbench.compress.float_layers import shield_float_layers
from kdbench.compress.preparing import forget_unused_domains, hushed, prepared
from kdbench.compress.ranges import Range, ranges_of
from kdbench.errors import InputError
from kdbench.registry import suggestion

if TYPE_CHECKING:
    import onnx


@COMPRESSORS.register("int8")
class Int8(Compressor):
    """Static INT8 in QDQ form: 8-bit weights and activations, with ranges from training images.

    `calibrator` chooses each activation's range: `min-max`, `percentile` (99.99), `entropy` or `mse`. Weights are
    symmetric, `per_channel` or per tensor. With `reduce_range` they have 7 bits: on x86 without VNNI, sums of products
    of 8-bit numbers would saturate, so that the same file answered differently. `keep_float` names the nodes that stay
    in float32. `equalize` first rescales channels so that the weights of neighbouring layers have the same range.
    """

    calibrated = True

    calibrator: Literal["min-max", "percentile", "entropy", "mse"] = "min-max"
    per_channel: bool = True
    reduce_range: bool = True
    activations: Literal["uint8", "int8"] = "uint8"
    weights: Literal["int8", "uint8"] = "int8"
    keep_float: tuple[str, ...] = ()
    equalize: bool = False

    def compress(self, source: Source, target: Path) -> Outcome:
        """Write the INT8 file; raises InputError for a model that is no float32 one, or an unknown node to keep."""
        model = prepared(source.path)
        if self.equalize:
            model = equalize(model)
        require_nodes(model, self.keep_float)
        inputs = source.inputs.inputs
        observe = partial(activations, model, source.facts.input_name, inputs, batch=source.facts.fixed_batch)
        ranges = ranges_of(observe, self.calibrator)
        quantize(model, ranges, self, target)
        require_runs(target, source.facts.input_name, inputs[: source.facts.fixed_batch or 1])
        return Outcome(ranges=ranges)


def require_nodes(model: "onnx.ModelProto", names: tuple[str, ...]) -> None:
    """Raise InputError unless each of `names` is a node of the prepared model."""
    known = [node.name for node in model.graph.node]
    for name in names:
        if name not in known:
            layers = [node.name for node in model.graph.node if node.op_type in {"Conv", "Gemm", "MatMul"}]
            hint = suggestion(name, known, f"its layers: {', '.join(layers[:20])}")
            raise InputError(f"keep_float names {name!r}, which is no node of the model", hint)


def quantize(model: "onnx.ModelProto", ranges: Mapping[str, Range], settings: Int8, target: Path) -> None:
    """Write the QDQ form of a prepared model to `target`, with the range (low, high) of each activation given."""
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    types = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
    with temporary.folder() as folder:
        cache, float_file, written = folder / "ranges.json", folder / "float.onnx", folder / "int8.onnx"
        storage.write_json(cache, _cache(ranges))
        onnx.save(model, float_file)
        with hushed():
            try:
                _with_cache(quantize_static)(
                    float_file,
                    written,
                    calibration_data_reader=None,
                    calibration_cache_path=cache,
                    calibrate_method=CalibrationMethod.MinMax,
                    quant_format=QuantFormat.QDQ,
                    per_channel=settings.per_channel,
                    reduce_range=settings.reduce_range,
                    activation_type=types[settings.activations],
                    weight_type=types[settings.weights],
                    nodes_to_exclude=list(settings.keep_float),
                )
            except (ValueError, RuntimeError, TypeError, AttributeError, KeyError) as error:
                raise InputError(f"onnxruntime does not quantize this model: {error}", "keep nodes in float") from error
        quantized = onnx.load(written)
    shield_float_layers(quantized)
    forget_unused_domains(quantized)
    target.write_bytes(quantized.SerializeToString(deterministic=True))


def _cache(ranges: Mapping[str, Range]) -> dict[str, Any]:
    """Return ranges as the JSON of onnxruntime's calibration cache."""

    def number(value: float) -> dict[str, Any]:
        return {"CLS": "numpy.array", "dtype": "float32", "data": float(np.float32(value))}

    data = {
        name: {"CLS": "TensorData", "lowest": number(low), "highest": number(high)}
        for name, (low, high) in ranges.items()
    }
    method = {"CLS": "CalibrationMethod", "value": "CalibrationMethod.MinMax"}
    return {"CLS": "TensorsData", "data": data, "calibration_method": method, "smooth_quant": False}


def _with_cache(function: Callable[..., None]) -> Callable[..., None]:
    """Return onnxruntime's function; raises InputError where it is too old to take given ranges."""
    import inspect

    import onnxruntime

    if "calibration_cache_path" not in inspect.signature(function).parameters:
        message = f"onnxruntime {onnxruntime.__version__} cannot quantize with given ranges"
        raise InputError(message, "pip install -U onnxruntime")
    return function


def require_runs(path: Path, name: str, inputs: Any) -> None:
    """Raise InputError unless onnxruntime runs the file at `path` on this CPU with `inputs` (N, …) as input `name`."""
    import onnxruntime

    from kdbench.worker.runtimes.onnxruntime import FAULTS, feed, session_options

    try:
        session = onnxruntime.InferenceSession(
            str(path), session_options(1, spinning=False, fallback=True), providers=["CPUExecutionProvider"]
        )
        declared = session.get_inputs()
        session.run(None, feed(declared, name, inputs))
    except FAULTS as error:
        raise refused(error) from error
