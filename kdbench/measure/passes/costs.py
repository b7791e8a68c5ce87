"""The costs pass: bytes, parameters and multiply-accumulates of a file, for any runtime, and students' ratios.

Where any of the models is a compressed variant, the files' compressed sizes are measured too: zeros of unstructured
sparsity take no less space in a file, and much less in a package.
"""

from collections.abc import Iterator, Mapping

from kdbench.errors import KdbenchError
from kdbench.macs.onnx_counter import count_onnx
from kdbench.measure.bench_model import BenchModel
from kdbench.measure.context import PASSES, Context, Expected, Pass, expected_of, expected_pair
from kdbench.measure.timed import compared
from kdbench.modelfile.reading import compressed_bytes
from kdbench.results.findings import Findings, missing_pair
from kdbench.results.records import Measurement, Pair, measured, missing

_COSTS = ("size_bytes", "weight_bytes", "parameters", "macs")
_RATIOS = {"size_ratio": "size_bytes", "macs_ratio": "macs"}
_MACS_SOURCE = "ONNX graph, canonical"


@PASSES.register("costs")
class CostsPass(Pass):
    """Size, weights, parameters and MACs of every model."""

    order = 20

    def expected(self, context: Context) -> Iterator[Expected]:
        """Yield the costs of every model and the ratios of every student."""
        yield from expected_of(context.models, (*_COSTS, *_variant_metrics(context)))
        for teacher, student in compared(context.models):
            yield from (expected_pair(teacher, student, metric) for metric in _RATIOS)

    def run(self, context: Context) -> Findings:
        """Read the files; MACs are those of one sample in the model's layout."""
        models = context.measurable
        measurements = [m for model in models for m in _costs(model, context.jobs[model.id].shape)]
        if _variant_metrics(context):
            measurements += [_compressed(model) for model in models]
        by_key = {(m.model, m.metric): m for m in measurements}
        pairs = tuple(pair for teacher, student in compared(models) for pair in _ratios(teacher, student, by_key))
        return Findings(tuple(measurements), pairs)


def _costs(model: BenchModel, shape: tuple[int, ...]) -> Iterator[Measurement]:
    yield measured(model.id, "size_bytes", model.facts.size_bytes, source="file system")
    yield measured(model.id, "weight_bytes", model.facts.weight_bytes, source="ONNX graph")
    yield measured(model.id, "parameters", model.card.parameters, source="model card")
    yield _macs(model, shape)


def _variant_metrics(context: Context) -> tuple[str, ...]:
    """Return the metrics that are measured only if any model is a compressed variant."""
    return ("compressed_bytes",) if any(model.card.variant is not None for model in context.models) else ()


def _compressed(model: BenchModel) -> Measurement:
    try:
        return measured(model.id, "compressed_bytes", compressed_bytes(model.path), source="zlib")
    except KdbenchError as error:
        return missing(model.id, "compressed_bytes", error.message, status="error", hint=error.hint, source="zlib")


def _macs(model: BenchModel, shape: tuple[int, ...]) -> Measurement:
    try:
        report = count_onnx(model.path, shape)
    except KdbenchError as error:
        return missing(model.id, "macs", error.message, status="error", hint=error.hint, source=_MACS_SOURCE)
    if report.uncounted:
        reason = f"operators whose MACs are not known: {', '.join(report.uncounted)}"
        return missing(model.id, "macs", reason, source=_MACS_SOURCE)
    return measured(model.id, "macs", report.macs, source=_MACS_SOURCE)


def _ratios(teacher: BenchModel, student: BenchModel, by_key: Mapping[tuple[str, str], Measurement]) -> Iterator[Pair]:
    """Yield teacher over student of size and MACs; where a number is missing, the reason."""
    for ratio, metric in _RATIOS.items():
        above, below = by_key[teacher.id, metric], by_key[student.id, metric]
        if above.value is not None and below.value:
            yield Pair(metric=ratio, teacher=teacher.id, student=student.id, value=above.value / below.value)
        else:
            without = above if above.value is None else below
            reason = f"{without.model}: {without.reason or f'{metric} is 0'}"
            yield missing_pair(teacher.id, student.id, ratio, reason)
