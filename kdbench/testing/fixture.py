"""The fixture `kdbench`, whose methods a test calls."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kdbench.judge.readiness import judge
from kdbench.judge.target import load_target
from kdbench.results.records import RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.testing.benchmarks import REPLAY, enter
from kdbench.testing.check_results import NOT_JUDGED, CheckResult
from kdbench.testing.comparison import Limits, compare_states
from kdbench.testing.context import Context, fails_test
from kdbench.testing.metric_check import MetricCheck
from kdbench.testing.model import Model, ratio
from kdbench.testing.regression import Change

if TYPE_CHECKING:
    from kdbench.results.verdicts import Verdict

_MAX_LINES = 8  # of missed criteria, which are often the same for many models


class Bench:
    """Models, and pairs of models, whose numbers a test checks.

    Relative paths are searched in the test file's folder, then in the root folder. Each combination of files, data and
    options is measured once per session, for all tests.
    """

    def __init__(self, item: pytest.Item) -> None:
        self._context = Context.of(item)

    @fails_test
    def model(
        self, file: str | Path, *, data: str | None = None, teacher: str | Path | None = None, **options: Any
    ) -> Model:
        """Return an ONNX file's model, whose metrics are attributes: `model("student.onnx", data="cifar10").top1`.

        `data` is a data set's name, folder:PATH or npz:PATH; without it there is no accuracy, and inputs are noise.
        With a `teacher` both are measured side by side, which also gives `agreement`. `options` are fields of
        `InputOptions` (`data_root`, `mean`, …) and keys of `[measure]` (`threads`, `batch`, `budget_s`, …), which
        override those of the session.
        """
        names = [file] if teacher is None else [teacher, file]
        return Model(self._context, self._context.files(names, data, options))

    @fails_test
    def ratio(
        self,
        *,
        teacher: str | Path,
        student: str | Path,
        data: str | None = None,
        metric: str = "latency_ratio",
        axes: dict[str, str | int] | None = None,
        **options: Any,
    ) -> MetricCheck:
        """Return a metric of a student relative to its teacher, by default the speed-up.

        Calls of both are interleaved in the same processes, so that the ratio has its own interval. `metric` is any
        metric of pairs (`size_ratio`, `macs_ratio`, `top1_drop`, …), `axes` selects a measurement, such as
        `{"batch": 128}`. `data` and `options` are as for `model`.
        """
        return ratio(self._context, self._context.files([teacher, student], data, options), metric, axes or {})

    @fails_test
    def ready(self, run: str | Path | RunRecord, target: str | Path, *, model: str | None = None) -> "Verdict":
        """Judge a run (its folder, its record.json or a RunRecord) against a target; end the test unless it is READY.

        `target` is the name of a shipped target or a TOML file, `model` the id or name of the only model to judge.
        Nothing is measured. Returns the verdict; without `--benchmark` any verdict passes.
        """
        __tracebackhide__ = True
        if isinstance(run, RunRecord):
            name, record = run.name, run
        else:
            path = self._context.find(run, "run").resolve()
            name, record = RunFolder.of(path).path.name, RunRecord.read(path)
        if Path(target).suffix == ".toml":
            target = self._context.find(target, "target")
        verdict = judge(record, load_target(target), [model] if model is not None else None)
        result = _of_verdict(name, verdict)
        if not self._context.settings.judged:
            result = replace(result, outcome=NOT_JUDGED, passed=True)
        self._context.judge(result)
        return verdict

    @fails_test
    def compare(
        self,
        base: str | Path,
        new: str | Path,
        *,
        remeasure: bool = False,
        metrics: tuple[str, ...] = (),
        thresholds: Limits = None,
        data: str | None = None,
        **options: Any,
    ) -> Change:
        """Return what changed from `base` to `new`; `.no_regression()` is the gate.

        Both are runs' folders or records, compared as they are stored; .onnx files, or all with `remeasure`, are
        measured side by side. `metrics` are ids (default: those of `kdbench compare`), `thresholds` how much worse they
        may be: `0.1` or `"10 %"` for all, or by metric; for accuracies in points. `data` and `options` are as for
        `model`.
        """
        files = self._context.files([], data, options)
        return compare_states(
            self._context, base, new, files, remeasure=remeasure, metrics=metrics, thresholds=thresholds
        )

    def finish(self, benchmark: Any) -> None:
        """Report the call times and the results to pytest-benchmark's fixture."""
        context = self._context
        info: dict[str, Any] = {}
        if context.settings.judged and context.results:
            info = {"bounds": [result.to_json() for result in context.results], "records": context.records}
        enter(benchmark, context.item.stash.get(REPLAY, None), context.seconds, info)


def _of_verdict(run: str, verdict: "Verdict") -> CheckResult:
    """Return the verdict on `run` as the result of a check; the reason lists what is missing."""
    ready = verdict.overall == "READY"
    lines = [] if ready else list(_missing(verdict))
    rest = [f"… and {len(lines) - _MAX_LINES} more"] if len(lines) > _MAX_LINES else []
    return CheckResult(
        subject=run,
        what=f"readiness for {verdict.title}",
        observed=f"{verdict.overall} ({verdict.best})" if ready else verdict.overall,
        required="READY",
        outcome=verdict.overall,
        passed=ready,
        reason="\n".join([*lines[:_MAX_LINES], *rest]),
        remedy="" if ready else "`kdbench ready` shows all criteria in a table",
        numbers={"target": verdict.target, "best": verdict.best, "record_hash": verdict.record_hash},
    )


def _missing(verdict: "Verdict") -> Iterator[str]:
    """Yield a line for each criterion that a model does not meet, with the remedy."""
    for model in verdict.models:
        for criterion in model.missing:
            remedy = f" ({criterion.remedy})" if criterion.remedy else ""
            yield f"{model.model}: {criterion.metric} {criterion.outcome}: {criterion.reason}{remedy}"
