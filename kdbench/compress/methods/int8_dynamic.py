"""Dynamic INT8: 8-bit weights, and activations whose ranges are computed from each batch while the model runs.

It needs no calibration images. It is worthwhile if matrix products dominate: onnxruntime has fast integer kernels for
them, and computing a range is cheap compared with a large product. For convolutions it has only ConvInteger, which is
many times slower than the float kernel.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.compress import COMPRESSORS, Compressor, Outcome, Source
from kdbench.compress.kernels import Kernels, kernels_of
from kdbench.compress.observing import CALLS, time_ratio
from kdbench.compress.preparing import forget_unused_domains, prepared, quantizing, require_nodes
from kdbench.compress.sources import float32_model
from kdbench.errors import InputError
from kdbench.processes import temporary
from kdbench.units import percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

_MAX_INTEGER_SHARE = 0.5  # of the multiply–accumulates


@COMPRESSORS.register("int8-dynamic")
class Int8Dynamic(Compressor):
    """Dynamic INT8: 8-bit weights, ranges of activations from each batch; for networks of matrix products.

    With `reduce_range`, weights have 7 bits, so that x86 without VNNI returns the same outputs. `keep_float` names the
    nodes that stay in float32.
    """

    per_channel: bool = True
    reduce_range: bool = True
    keep_float: tuple[str, ...] = ()

    def compress(self, source: Source, target: Path) -> Outcome:
        """Write the INT8 file; raises InputError for a model that has nothing to quantize."""
        model = prepared(source.path)
        require_nodes(model, self.keep_float)
        quantize_dynamically(model, self, target)
        kernels = kernels_of(target, source.facts.sample_shape)
        if not kernels.integer:
            message = f"{source.path} has no convolution or matrix product with stored weights to quantize"
            raise InputError(message, "choose another method")
        facts = {"integer_share": kernels.integer_share}
        return Outcome(facts=facts, warnings=_warnings(target, source, kernels))

    def warnings_about(self, source: Source, target: Path, facts: "Mapping[str, Any]") -> tuple[str, ...]:  # noqa: ARG002 - of all methods
        """Return warnings about layers that run in floats here, and about slow convolutions."""
        return _warnings(target, source, kernels_of(target, source.facts.sample_shape))


def quantize_dynamically(model: "onnx.ModelProto", settings: Int8Dynamic, target: Path) -> None:
    """Write a prepared model with dynamic quantization to `target`."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with temporary.folder() as folder:
        written = folder / "int8.onnx"
        with quantizing():
            quantize_dynamic(
                model,
                written,
                weight_type=QuantType.QInt8,
                per_channel=settings.per_channel,
                reduce_range=settings.reduce_range,
                nodes_to_exclude=list(settings.keep_float),
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
            )
        quantized = onnx.load(written)
    forget_unused_domains(quantized)
    target.write_bytes(quantized.SerializeToString(deterministic=True))


def _warnings(target: Path, source: Source, kernels: Kernels) -> tuple[str, ...]:
    if kernels.integer_share < _MAX_INTEGER_SHARE:
        return (f"only {percent(kernels.integer_share)} of the multiply–accumulates run in integers on this machine",)
    convolutions = sum(macs for _, operator, macs in kernels.layers if operator == "ConvInteger")
    if not convolutions or convolutions < 0.5 * sum(macs for *_, macs in kernels.layers):
        return ()
    import onnx

    ratio = time_ratio(onnx.load(target), float32_model(source.path), source.facts)
    measured = f": {ratio:.1f} times as long as in float32 in {CALLS} calls on this machine" if ratio else ""
    return (f"dynamic INT8 is slow for convolutions (ConvInteger){measured}; choose int8, which is static",)
