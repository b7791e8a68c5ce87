"""Gates against a baseline: one that is stored, or a model that is measured again beside the candidate."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kdbench import storage, units
from kdbench.errors import InputError
from kdbench.judge.compare.records import compare
from kdbench.judge.compare.thresholds import Thresholds, comparable
from kdbench.results.comparisons import Comparison
from kdbench.results.records import RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.results.samples import read_samples
from kdbench.testing.context import Context
from kdbench.testing.gate import Change, hold
from kdbench.testing.passes import Depth, Files, contents
from kdbench.workflows import remeasure

Limits = float | str | Mapping[str, float | str] | None
"""How much worse a metric may be: relative (`0.1`, `"10 %"`), or for shares in points; for all, or by metric."""

_AMOUNTS = "for example '10 %', or 0.3 (points) for an accuracy"


@dataclass(frozen=True)
class States:
    """What is compared with what: runs' folders, records or .onnx files; measured side by side, or as they are stored.

    `files` say how the models of both are fed and measured, where they are.
    """

    base: Path
    new: Path
    remeasured: bool
    files: Files
    metrics: tuple[str, ...] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)

    def compare(self, context: Context) -> Comparison:
        """Return what changed; raises KdbenchError where that cannot be said."""
        if not self.remeasured:
            return _of_records(RunRecord.read(self.base), RunRecord.read(self.new), self)
        return _kept(context, self)


def stored_or_again(
    context: Context,
    base: str | Path,
    new: str | Path,
    files: Files,
    *,
    remeasure: bool,
    metrics: Sequence[str],
    thresholds: Limits,
) -> Change:
    """Return the change between two states: stored ones as they are, .onnx files by measuring them side by side."""
    paths = context.places.find(base, "baseline"), context.places.find(new, "run or model")
    again = remeasure or any(path.suffix == ".onnx" for path in paths)
    states = States(*paths, again, files, tuple(metrics), _thresholds(thresholds))
    name = f"{paths[1].name} after {paths[0].name}"
    if context.settings.judged:
        return Change(context, name, states.compare(context))
    for path in paths:
        if path.suffix == ".onnx":
            context.passes.call_once(Files((path,), files.data, files.feeding, files.measuring))
        else:
            RunRecord.read(path)
    return Change(context, name, None)


def against_baseline(
    context: Context,
    files: Files,
    baseline: str | Path | None,
    *,
    remeasure: bool,
    metrics: Sequence[str],
    thresholds: Limits,
    inconclusive: str | None,
) -> None:
    """Hold a model against its own state at `baseline`, or at the session's."""
    __tracebackhide__ = True
    own, new = _thresholds(thresholds), files.paths[-1]
    if not context.settings.judged:
        hold(context, new.name, None, inconclusive)
        return
    base = _same_model(context, baseline, new)
    if remeasure or base.suffix == ".onnx":
        states = States(base, new, True, files, tuple(metrics), own)
        hold(context, new.name, states.compare(context), inconclusive)
        return
    depth = max((Depth.of(comparable(id_)) for id_ in metrics), default=Depth.TIMES)
    record, folder = context.passes.record(files, depth)
    context.saw(folder, record.measurements[0], files.student)
    states = States(base, folder, False, files, tuple(metrics), own)
    hold(context, new.name, _of_records(RunRecord.read(base), record, states), inconclusive)


def _same_model(context: Context, baseline: str | Path | None, new: Path) -> Path:
    """Return the record or the file that a model's baseline is, where `baseline` may be a folder of such files."""
    named = context.places.find(baseline, "baseline") if baseline is not None else context.settings.baseline
    if named is None:
        raise InputError(
            f"{new.name} has no baseline", "name one: --kdbench-baseline=PATH, or no_regression(baseline=PATH)"
        )
    if not named.exists():
        raise InputError(f"there is no baseline at {named}", "check --kdbench-baseline")
    if named.is_file() or RunFolder(named).record.exists():
        return _another(named, new)
    inside = [named / new.name]
    if new.is_relative_to(context.settings.root):  # the checkout of another branch
        inside.insert(0, named / new.relative_to(context.settings.root))
    found = next((each for each in inside if each.is_file()), None)
    if found is None:
        raise InputError(
            f"the baseline {named} has neither a record.json nor {new.name}",
            "name a run's folder, or a folder with the models of the baseline",
        )
    return _another(found, new)


def _another(baseline: Path, new: Path) -> Path:
    """Return the baseline; raises InputError where it is the very file that is to be compared with it.

    pytest takes `base` in `--kdbench-baseline base` for a folder of tests while it looks for the root folder, and a
    project in there then becomes the root: every model would be found in the baseline, and be the same.
    """
    if baseline.resolve() != new.resolve():
        return baseline
    raise InputError(
        f"{new.name} and its baseline are one file: {new}",
        "name the tests, and write --kdbench-baseline=PATH with an equals sign: see the root folder that pytest prints",
    )


def _of_records(base: RunRecord, new: RunRecord, states: States) -> Comparison:
    student = states.files.student if states.files.paths else None
    named = {card.name for card in base.models} | {card.id for card in base.models}
    return compare(
        base,
        new,
        models={student: student} if student in named else None,
        metrics=states.metrics,
        thresholds=states.thresholds,
        base_samples=read_samples(RunFolder.of(states.base).samples),
        new_samples=read_samples(RunFolder.of(states.new).samples),
    )


def _side_by_side(context: Context, states: States, out: Path) -> Comparison:
    files = states.files
    comparison, _ = remeasure.remeasure(
        states.base,
        states.new,
        metrics=states.metrics,
        thresholds=states.thresholds,
        # A run's folder names the data that its models are scored on.
        inputs=files.inputs.model_copy(update={"accuracy": files.data is not None or states.new.suffix != ".onnx"}),
        options=files.options(Depth.TIMES),
        out=out,
        progress=context.passes.progress,
        command="pytest --benchmark",
    )
    root = context.settings.root
    if states.base.suffix == ".onnx" and states.base.is_relative_to(root):
        # Its name alone is most often the new one's too.
        comparison = comparison.model_copy(update={"base": states.base.relative_to(root).as_posix()})
    return comparison


def _kept(context: Context, states: States) -> Comparison:
    """Return a comparison by measuring, made once a session for all tests and processes."""
    asked = [contents(states.base), contents(states.new), states.files.how(Depth.TIMES), states.metrics]
    key = storage.content_hash([*asked, str(states.thresholds)])
    out = context.passes.folder / f"compare-{states.new.stem}-{key[:8]}"
    file = RunFolder(out).comparison

    def known() -> Comparison | None:
        return Comparison.read(file) if file.exists() else None

    def made() -> Comparison:
        shutil.rmtree(out, ignore_errors=True)  # of a worker that ended midway
        comparison = _side_by_side(context, states, out)
        storage.make_folder(out)  # none was needed where all files are the same
        comparison.write(file)
        return comparison

    return context.passes.once(key, known, made)


def _thresholds(limits: Limits) -> Thresholds:
    if limits is None:
        return Thresholds()
    if not isinstance(limits, Mapping):
        return Thresholds(relative=_amount(limits, "share", "thresholds"))
    by_metric = {}
    for id_, limit in limits.items():
        metric = comparable(id_)
        by_metric[metric.id] = _amount(limit, "points" if metric.in_points else "share", id_)
    return Thresholds(by_metric=by_metric)


def _amount(limit: float | str, unit: str, name: str) -> float:
    try:
        amount = units.parse(limit, unit) if isinstance(limit, str) else float(limit)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name}: {error}", _AMOUNTS) from error
    if not 0 <= amount < math.inf:
        raise InputError(f"{name}: {limit} is no amount by which a number may be worse", _AMOUNTS)
    return amount
