"""A model whose metrics a test checks, or a student relative to its teacher."""

from collections.abc import Callable
from pathlib import Path

from kdbench.errors import InputError
from kdbench.registry import suggestion
from kdbench.report.axes import format_axes
from kdbench.results.metrics import METRICS, PAIR_METRICS, Metric
from kdbench.results.records import Axes, Measurement, Pair, RunRecord, missing
from kdbench.testing.comparison import Limits, compare_with_baseline
from kdbench.testing.context import Context, fails_test
from kdbench.testing.metric_check import MetricCheck
from kdbench.testing.records import BenchFiles, Depth

_NOT_MEASURED = "not measured"


class Model:
    """A model file whose numbers are attributes, named as in record.json: `model.top1`, `model.latency_p50_ns`.

    Measuring starts with the first use of a number: metrics of the file (accuracy, size, MACs) take seconds; those that
    depend on the machine (times, memory) take as long as the budget.
    """

    def __init__(self, context: Context, files: BenchFiles) -> None:
        self._context = context
        self._files = files
        self._name = files.paths[-1].name

    def __repr__(self) -> str:
        return f"<kdbench model {self._name}>"

    def __getattr__(self, name: str) -> MetricCheck:
        __tracebackhide__ = True
        if name.startswith("_") or name not in METRICS:
            raise AttributeError(f"no metric {name!r} of a model: {suggestion(name, METRICS)}")
        return self.metric(name)

    @fails_test
    def metric(self, id_: str, **axes: str | int) -> MetricCheck:
        """Return a number by its id, at these axes: `metric("latency_p95_ns", threads=1, batch=1)`.

        Without axes it is the headline: batch 1 at the first thread count, in the first mode.
        """
        if id_ not in METRICS:
            raise InputError(f"unknown metric {id_!r}", suggestion(id_, METRICS))

        def in_record(record: RunRecord) -> Measurement:
            student = self._files.student
            measurement = record.find(student, id_, **axes)
            return measurement or missing(student, id_, _NOT_MEASURED, axes=axes, hint=_elsewhere(record, student, id_))

        return _check(self._context, self._files, self._name, METRICS[id_], in_record)

    @fails_test
    def no_regression(
        self,
        baseline: str | Path | None = None,
        *,
        remeasure: bool = False,
        metrics: tuple[str, ...] = (),
        thresholds: Limits = None,
        inconclusive: str | None = None,
    ) -> None:
        """Compare with the same model at `baseline`, or `--kdbench-baseline`; ends the test if it became worse.

        A record or a run's folder is a stored baseline. With an .onnx file, a folder that has a file of the same name
        (the checkout of another branch), or `remeasure`, both files are measured side by side. `metrics` and
        `thresholds` are as for `kdbench.compare`.
        """
        __tracebackhide__ = True
        context, files = self._context, self._files
        compare_with_baseline(
            context, files, baseline, inconclusive, remeasure=remeasure, metrics=metrics, thresholds=thresholds
        )


def ratio(context: Context, files: BenchFiles, id_: str, axes: Axes) -> MetricCheck:
    """Return a number of a student relative to its teacher, the last of the files and the first."""
    if id_ not in PAIR_METRICS:
        raise InputError(f"unknown metric {id_!r} of a student and its teacher", suggestion(id_, PAIR_METRICS))
    teacher, student = files.ids

    def in_record(record: RunRecord) -> Pair:
        return record.find_pair(student, id_, **axes) or Pair(
            metric=id_,
            axes=dict(axes),
            value=None,
            status="unavailable",
            reason=_NOT_MEASURED,
            teacher=teacher,
            student=student,
        )

    name = f"{files.paths[-1].name} with {files.paths[0].name}"
    return _check(context, files, name, PAIR_METRICS[id_], in_record)


def _check(
    context: Context, files: BenchFiles, name: str, metric: Metric, in_record: Callable[[RunRecord], Measurement | Pair]
) -> MetricCheck:
    if not context.settings.judged:
        return MetricCheck(name, metric, None, context)

    @fails_test
    def measure() -> Measurement | Pair:
        record, folder = context.measured.record(files, Depth.of(metric))
        measurement = in_record(record)
        context.note_measurement(folder, measurement, files.student)
        return measurement

    return MetricCheck(name, metric, measure, context)


def _elsewhere(record: RunRecord, model: str, id_: str) -> str:
    """Return a hint that names the axes at which a metric was measured."""
    measured_at = [format_axes(m.axes) for m in record.measurements if (m.model, m.metric) == (model, id_)]
    if not any(measured_at):
        return "it may need an argument of kdbench.model(…), such as data=, teacher= or mode="
    return f"measured at {'; '.join(measured_at)}: choose others with threads=, batch= or mode= of kdbench.model(…)"
