"""Static INT8: weights and activations as 8-bit integers, with ranges from calibration inputs.

onnxruntime writes the QDQ form: QuantizeLinear and DequantizeLinear around float operators, which the runtime replaces
by integer kernels if it has them. The ranges are computed here (`ranges`), and passed in its calibration cache.
"""

import math
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import model_validator

from kdbench.compress import COMPRESSORS, Compressor, Outcome, Source
from kdbench.compress.activations import activations, refused
from kdbench.compress.graph_index import LAYERS, GraphIndex
from kdbench.compress.held_out import warnings_about_samples
from kdbench.compress.kernels import LAYER_KERNELS, kernels_of
from kdbench.compress.observing import Samples
from kdbench.compress.preparing import forget_unused_domains, prepared, quantizing, require_nodes, require_onnxruntime
from kdbench.compress.quantization.bias_correction import correct_biases
from kdbench.compress.quantization.equalization import equalize
from kdbench.compress.quantization.float_layers import shield_float_layers
from kdbench.compress.quantization.goals import drop_goal, layers_to_keep, loss_of, snr_goal
from kdbench.compress.quantization.ranges import Range, extremes_of, ranges_of, require_finite
from kdbench.compress.quantization.sensitivity import layer_noise, output_snr_db
from kdbench.compress.quantization.softmaxes import (
    float_probabilities,
    float_softmaxes,
    read_exact_values,
    tensors_between,
)
from kdbench.compress.quantization.weight_scales import with_one_scale
from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.processes import temporary
from kdbench.user_input.validation import WrongValueError, added_later

if TYPE_CHECKING:
    import onnx

    from kdbench.compress.held_out import Loss

_OBSERVED = 32  # calibration inputs on which noise is measured
_LOW_SNR_DB = 10.0  # the noise has a tenth of the output's power
RANGES_SINCE = (1, 27)
"""The first version of onnxruntime whose `quantize_static` takes given ranges (`calibration_cache_path`)."""


@COMPRESSORS.register("int8")
class Int8(Compressor):
    """Static INT8 in QDQ form: 8-bit weights and activations, with ranges from training images.

    `calibrator` chooses each activation's range: `min-max`, `percentile` (99.99), `entropy` or `mse`. Weights are
    symmetric, `per_channel` or per tensor. With `reduce_range` they have 7 bits: on x86 without VNNI, sums of products
    of 8-bit numbers would saturate, and the same file would return other outputs. `equalize` first rescales channels so
    that the weights of neighbouring layers have the same range. `correct_bias` subtracts the mean error of each channel
    from the bias.

    These nodes stay in float32: those that `keep_float` names, softmaxes of masked scores and of the output
    (`softmaxes`), and as many of the noisiest layers as two goals require. The output on calibration inputs must reach
    the signal-to-noise ratio `min_snr_db`. Top-1 may fall by at most `max_drop` percentage points, on up to
    `held_out_count` labelled samples that calibration does not use.
    """

    calibrated = True
    revision = 2

    calibrator: Literal["min-max", "percentile", "entropy", "mse"] = "min-max"
    per_channel: bool = True
    reduce_range: bool = True
    activations: Literal["uint8", "int8"] = "uint8"
    weights: Literal["int8", "uint8"] = "int8"
    keep_float: tuple[str, ...] = ()
    equalize: bool = False
    correct_bias: bool = False
    min_snr_db: float | None = None
    max_drop: float | None = added_later(None, ge=0, lt=100)
    held_out_count: int = added_later(2000, ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _counts_for_a_goal(self) -> Self:
        if "held_out_count" in self.model_fields_set and self.max_drop is None:
            raise WrongValueError(
                "held_out_count applies only with max_drop, which is not set", "set max_drop, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _has_kernels(self) -> Self:
        if (self.activations, self.weights) == ("int8", "uint8"):
            message = "onnxruntime has no layers of int8 activations and uint8 weights"
            raise WrongValueError(
                message, "use weights = int8 with any activations, or weights = uint8 with uint8 activations"
            )
        return self

    @property
    def held_out_samples(self) -> int:
        """The number of labelled samples for measuring the accuracy."""
        return 0 if self.max_drop is None else self.held_out_count

    def require_available(self) -> None:
        """Raise InputError if onnxruntime is too old to accept given ranges."""
        require_onnxruntime(RANGES_SINCE, "static INT8 with calibrated ranges")

    def compress(self, source: Source, target: Path) -> Outcome:
        """Write the INT8 file; raises InputError for a model that is not float32, or an unknown node to keep."""
        model = prepared(source.path)
        if self.equalize:
            model = equalize(model)
        require_nodes(model, self.keep_float)
        inputs = source.inputs.inputs
        observe = partial(activations, model, source.facts.input_name, inputs, batch=source.facts.fixed_batch)
        extremes = extremes_of(observe)
        softmaxes = (*float_softmaxes(model, extremes), *float_probabilities(model))
        between = tensors_between(model, softmaxes)
        extremes = {name: ends for name, ends in extremes.items() if name not in between}
        require_finite(extremes)
        ranges = ranges_of(observe, self.calibrator, extremes)
        quantized_with = partial(self._quantized, model, ranges, source, softmaxes)
        kept, quantized, loss = self._within_goals(model, quantized_with, source)
        target.write_bytes(quantized.SerializeToString(deterministic=True))
        require_runs(target, source.facts.input_name, inputs[: source.facts.fixed_batch or 1])
        _require_layers(quantized, source, kept)
        facts = _noise(model, quantized, _observed(source)) | ({"kept_float": list(kept)} if kept else {})
        if loss is not None:
            facts["held_out"] = loss.facts
        return Outcome(ranges=ranges, facts=facts, warnings=self.warnings_about(source, target, facts))

    def warnings_about(self, source: Source, target: Path, facts: Mapping[str, Any]) -> tuple[str, ...]:
        """Return warnings about layers that run in float32 here, and held-out samples that the model was trained on."""
        lines = _in_float(target, source, tuple(facts.get("kept_float", ())))
        if facts.get("snr_db", math.inf) < _LOW_SNR_DB:
            line = f"INT8 adds noise to the output: the signal-to-noise ratio is {facts['snr_db']:.1f} dB"
            lines += (f"{line}. Check the accuracy, or keep the noisiest layers in float32: --set int8.min_snr_db=20",)
        if source.held_out is not None and "held_out" in facts:
            lines += warnings_about_samples(facts["held_out"]["source_top1"], seen=source.held_out.seen)
        return lines

    def _within_goals(
        self, model: "onnx.ModelProto", quantized_with: "Callable[[tuple[str, ...]], onnx.ModelProto]", source: Source
    ) -> "tuple[tuple[str, ...], onnx.ModelProto, Loss | None]":
        """Return the nodes that stay in float, the file with them, and its loss on held-out samples, if requested."""
        samples, goals = _observed(source), []
        if self.min_snr_db is not None:
            goals.append(snr_goal(model, samples, self.min_snr_db))
        loss = None if self.max_drop is None else loss_of(model, source.labelled, samples)
        if loss is not None and self.max_drop is not None:
            goals.append(drop_goal(loss, self.max_drop))
        named = self.keep_float
        kept, quantized = layers_to_keep(model, lambda noisy: quantized_with(named + noisy), samples, goals, named)
        return named + kept, quantized, None if loss is None else loss(quantized)

    def _quantized(
        self,
        model: "onnx.ModelProto",
        ranges: Mapping[str, Range],
        source: Source,
        softmaxes: tuple[str, ...],
        kept: tuple[str, ...],
    ) -> "onnx.ModelProto":
        quantized = quantize(model, ranges, self, (*kept, *softmaxes))
        read_exact_values(quantized, softmaxes)
        if self.correct_bias:
            quantized = correct_biases(model, quantized, Samples.of(source.facts, source.inputs.inputs))
        return quantized


def quantized_layers(model: "onnx.ModelProto") -> list[str]:
    """Return the names of the layers of a model in QDQ form whose inputs and weights are quantized."""
    producers = GraphIndex.of(model.graph).producers

    def is_quantized(name: str) -> bool:
        return name in producers and producers[name].op_type == "DequantizeLinear"

    layers = (node for node in model.graph.node if node.op_type in LAYERS)
    return [node.name for node in layers if all(map(is_quantized, node.input[:2]))]


def _require_layers(quantized: "onnx.ModelProto", source: Source, kept: tuple[str, ...]) -> None:
    """Raise InputError for a file in which no layer is quantized; `kept` are those that stay in float32."""
    if quantized_layers(quantized):
        return
    message = f"{source.path} has no convolution or matrix product that onnxruntime quantizes"
    if kept:
        message = f"no layer of {source.path} is left to quantize; in float32: {', '.join(kept)}"
    raise InputError(message, "keep fewer nodes in float32, relax the goals, or choose another method")


def _in_float(target: Path, source: Source, kept: tuple[str, ...]) -> tuple[str, ...]:
    """Return warnings about layers of a file that run in float32 here, except those that are `kept` in float32."""
    import onnx

    quantized = onnx.load(target)
    kernels, layers = kernels_of(target, source.facts.sample_shape), quantized_layers(quantized)
    lines = []
    if (without := len(layers) - len(kernels.integer)) > 0:
        line = f"{without} of {len(layers)} quantized layers run in float32 on this machine"
        line = f"{line}: onnxruntime has no integer kernel for them, and the file may be slower than the float one"
        lines.append(line)
    done = {*layers, *kept}
    if left := [node for node in quantized.graph.node if node.op_type in LAYER_KERNELS and node.name not in done]:
        kinds = ", ".join(sorted({node.op_type for node in left}))
        total = len(layers) + len(left)
        lines.append(f"onnxruntime does not quantize {kinds}: {len(left)} of {total} layers stay in float32")
    return tuple(lines)


def _observed(source: Source) -> Samples:
    """Return the first calibration inputs, in whole batches, on which noise is measured."""
    batch = source.facts.fixed_batch or 1
    return Samples.of(source.facts, source.inputs.inputs[: max(batch, _OBSERVED // batch * batch)])


def _noise(model: "onnx.ModelProto", quantized: "onnx.ModelProto", samples: Samples) -> dict[str, Any]:
    """Return the signal-to-noise ratios in dB for the card, of the output and of each layer, worst first."""
    table = layer_noise(model, quantized, samples, alone=False, simulated=True)
    output_db = output_snr_db(model, quantized, samples)
    layers = {noise.name: round(noise.snr_db, 2) for noise in table if math.isfinite(noise.snr_db)}
    return {"layer_snr_db": layers} | ({"snr_db": round(output_db, 2)} if math.isfinite(output_db) else {})


def quantize(
    model: "onnx.ModelProto", ranges: Mapping[str, Range], settings: Int8, float_nodes: Collection[str]
) -> "onnx.ModelProto":
    """Return the QDQ form of a prepared model, given the range (low, high) of each activation.

    The nodes `float_nodes` stay in float32.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    types = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
    with temporary.folder() as folder:
        cache, float_file, written = folder / "ranges.json", folder / "float.onnx", folder / "int8.onnx"
        storage.write_json(cache, _cache(ranges))
        onnx.save(model, float_file)
        with quantizing():
            quantize_static(
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
                nodes_to_exclude=list(float_nodes),
                extra_options={
                    "DefaultTensorType": onnx.TensorProto.FLOAT,
                    "TensorQuantOverrides": with_one_scale(model),
                },
            )
        quantized = onnx.load(written)
    shield_float_layers(quantized)
    forget_unused_domains(quantized)
    return quantized


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
