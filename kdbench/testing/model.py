"""A model, or a student beside its teacher, as a test asks about it."""

from collections.abc import Callable
from pathlib import Path

from kdbench.errors import InputError
from kdbench.registry import suggestion
from kdbench.report.axes import format_axes
from kdbench.results.metrics import METRICS, PAIR_METRICS, Metric
from kdbench.results.records import Axes, Measurement, Pair, RunRecord, missing
from kdbench.testing.comparing import Limits, against_baseline
from kdbench.testing.context import Context
from kdbench.testing.failing import told
from kdbench.testing.found import MetricCheck
from kdbench.testing.passes import Depth, Files

_NOT_ASKED_FOR = "not measured"


class Model:
    """A model file whose numbers are attributes, called as in record.json: `model.top1`, `model.latency_p50_ns`.

    Nothing is measured before a number is asked for: what is the file's own (accuracy, size, MACs) takes seconds, what
    is the machine's (times, memory) a budget.
    """

    def __init__(self, context: Context, files: Files) -> None:
        self._context = context
        self._files = files

    def __repr__(self) -> str:
        return f"<kdbench model {self._name}>"

    def __getattr__(self, name: str) -> MetricCheck:
        __tracebackhide__ = True
        if name.startswith("_") or name not in METRICS:
            raise AttributeError(f"no metric {name!r} of a model: {suggestion(name, METRICS)}")
        return self.metric(name)

    @told
    def metric(self, id_: str, **axes: str | int) -> MetricCheck:
        """Return a number by its id, at the axes that are given: `metric("latency_p95_ns", threads=1, batch=1)`.

        Without axes it is the headline: batch 1 at the first thread count, the usual way of calling.
        """
        if id_ not in METRICS:
            raise InputError(f"unknown metric {id_!r}", suggestion(id_, METRICS))

        def in_record(record: RunRecord) -> Measurement:
            student = self._files.student
            found = record.find(student, id_, **axes)
            return found or missing(student, id_, _NOT_ASKED_FOR, axes=axes, hint=_elsewhere(record, student, id_))

        return _found(self._context, self._files, self._name, METRICS[id_], in_record)

    @told
    def no_regression(
        self,
        baseline: str | Path | None = None,
        *,
        remeasure: bool = False,
        metrics: tuple[str, ...] = (),
        thresholds: Limits = None,
        inconclusive: str | None = None,
    ) -> None:
        """Compare with the same model at `baseline`, or `--kdbench-baseline`; ends the test where it became worse.

        A record, or a run's folder, is a stored baseline; an .onnx file, a folder with a file of the same name (the
        checkout of another branch), or `remeasure`, has the two files measured side by side. `metrics` are those
        compared, and `thresholds` how much worse they may be, as `kdbench.compare` says.
        """
        __tracebackhide__ = True
        against_baseline(
            self._context,
            self._files,
            baseline,
            remeasure=remeasure,
            metrics=metrics,
            thresholds=thresholds,
            inconclusive=inconclusive,
        )

    @property
    def _name(self) -> str:
        return self._files.paths[-1].name


def ratio(context: Context, files: Files, id_: str, axes: Axes) -> MetricCheck:
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
            reason=_NOT_ASKED_FOR,
            teacher=teacher,
            student=student,
        )

    name = f"{files.paths[-1].name} beside {files.paths[0].name}"
    return _found(context, files, name, PAIR_METRICS[id_], in_record)


def _found(
    context: Context,
    files: Files,
    name: str,
    metric: Metric,
    in_record: Callable[[RunRecord], Measurement | Pair],
) -> MetricCheck:
    if not context.settings.judged:
        return MetricCheck(name, metric, None, context)

    @told
    def find() -> Measurement | Pair:
        record, folder = context.passes.record(files, Depth.of(metric))
        finding = in_record(record)
        context.saw(folder, finding, files.student)
        return finding

    return MetricCheck(name, metric, find, context)


def _elsewhere(record: RunRecord, model: str, id_: str) -> str:
    """Return where a metric was measured instead of where it was asked for."""
    taken = [format_axes(m.axes) for m in record.measurements if (m.model, m.metric) == (model, id_)]
    if not any(taken):
        return "is there an option of kdbench.model(…) that asks for it, such as data=, teacher= or mode=?"
    return f"measured at {'; '.join(taken)}: name others with threads=, batch= or mode= of kdbench.model(…)"
