"""What the fixture `kdbench` gives a test."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kdbench.results.records import RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.testing.comparing import Limits, stored_or_again
from kdbench.testing.context import Context
from kdbench.testing.failing import told
from kdbench.testing.found import MetricCheck
from kdbench.testing.gate import Change
from kdbench.testing.judged import NOT_JUDGED
from kdbench.testing.model import Model, ratio
from kdbench.testing.replay import REPLAY, enter

if TYPE_CHECKING:
    from kdbench.results.verdicts import Verdict


class Bench:
    """Models, and pairs of them, whose numbers a test holds bounds against.

    Relative paths are looked for beside the test's file, then in the root folder. What is measured is measured once a
    session for all tests that ask for the same files, data and options.
    """

    def __init__(self, item: pytest.Item) -> None:
        self._context = Context.of(item)

    @told
    def model(
        self, file: str | Path, *, data: str | None = None, teacher: str | Path | None = None, **options: Any
    ) -> Model:
        """Return an ONNX file's model, whose metrics are attributes: `model("student.onnx", data="cifar10").top1`.

        `data` is a data set's name, folder:PATH or npz:PATH; without it there is no accuracy, and inputs are noise.
        With a `teacher` both are measured side by side, and there is `agreement` too. `options` are those of
        `kdbench.bench` on data and inputs (`data_root`, `mean`, …) and the settings of `[measure]` (`threads`,
        `batch`, `budget_s`, …), the latter over those of the session.
        """
        names = [file] if teacher is None else [teacher, file]
        return Model(self._context, self._context.files(names, data, options))

    @told
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
        """Return a number of a student relative to its teacher, by default how many times faster it is.

        Both are called in turn in the same processes, so that the ratio has an interval of its own. `metric` may be
        any of pairs (`size_ratio`, `macs_ratio`, `top1_drop`, …), `axes` such as `{"batch": 128}` where it was taken.
        `data` and `options` are as for `model`.
        """
        return ratio(self._context, self._context.files([teacher, student], data, options), metric, axes or {})

    @told
    def ready(self, run: str | Path | RunRecord, target: str, *, model: str | None = None) -> "Verdict":
        """Judge a run (its folder, its record.json or the record) against a target; ends the test unless it is READY.

        `target` is a shipped one's name or a TOML file, `model` the id or name of the only model that counts. Returns
        the verdict. Nothing is measured, so it is a matter of milliseconds; in a smoke run the verdict is returned
        whatever it is.
        """
        __tracebackhide__ = True
        from kdbench.testing.readiness import held, verdict_on

        name, record = self._record(run)
        found = verdict_on(record, self._context.places, target, model)
        judged = held(name, found)
        if not self._context.settings.judged:
            judged = replace(judged, outcome=NOT_JUDGED, passed=True)
        self._context.judge(judged)
        return found

    @told
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

        Both are runs' folders or records and compared as they are stored; .onnx files, or all with `remeasure`, are
        measured again side by side. `metrics` are ids (by default those that `kdbench compare` has), `thresholds` how
        much worse they may be: `0.1` or `"10 %"` for all, or by metric, for accuracies in points. `data` and `options`
        are as for `model`.
        """
        return stored_or_again(
            self._context,
            base,
            new,
            self._context.files([], data, options),
            remeasure=remeasure,
            metrics=metrics,
            thresholds=thresholds,
        )

    def _record(self, run: str | Path | RunRecord) -> tuple[str, RunRecord]:
        """Return a run's record and what to call it: as its folder, or its file, is called."""
        if isinstance(run, RunRecord):
            return run.name, run
        path = self._context.places.find(run, "run").resolve()
        return RunFolder.of(path).path.name, RunRecord.read(path)

    def finish(self, benchmark: Any) -> None:
        """Enter with pytest-benchmark's fixture what was found: the call times, and the bounds beside them."""
        context = self._context
        info = {"bounds": [each.to_json() for each in context.held], "records": context.records}
        enter(
            benchmark,
            context.item.stash.get(REPLAY, None),
            context.seconds,
            info if context.settings.judged and context.held else {},
        )
