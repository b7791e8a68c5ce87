"""Comparisons with a baseline: stored records, or models that are measured again side by side."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kdbench import units
from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.judge.compare.records import compare
from kdbench.judge.compare.thresholds import Thresholds, comparable
from kdbench.results.comparisons import Comparison
from kdbench.results.records import RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.results.samples import read_samples
from kdbench.testing.context import Context
from kdbench.testing.records import BenchFiles, Depth, file_hashes
from kdbench.testing.regression import Change, check_regression
from kdbench.workflows import remeasure

Limits = float | str | Mapping[str, float | str] | None
"""How much worse a metric may be: relative (`0.1`, `"10 %"`), for shares in points; for all metrics, or by metric."""

_AMOUNTS = "for example '10 %', or 0.3 (points) for an accuracy"


@dataclass(frozen=True)
class States:
    """Two states to compare: runs' folders, records or .onnx files; `files` holds the options for measuring."""

    base: Path
    new: Path
    files: BenchFiles
    metrics: tuple[str, ...] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)


def compare_states(
    context: Context,
    base: str | Path,
    new: str | Path,
    files: BenchFiles,
    *,
    remeasure: bool,
    metrics: Sequence[str],
    thresholds: Limits,
) -> Change:
    """Return the change between two states; .onnx files are measured side by side, with `remeasure` all models.

    Raises KdbenchError if the states cannot be compared.
    """
    paths = context.find(base, "baseline"), context.find(new, "run or model")
    states = States(*paths, files, tuple(metrics), _thresholds(thresholds))
    name = f"{paths[1].name} after {paths[0].name}"
    if context.settings.judged:
        if remeasure or any(path.suffix == ".onnx" for path in paths):
            return Change(context, name, _remeasured_once(context, states))
        return Change(context, name, _compare_records(RunRecord.read(states.base), RunRecord.read(states.new), states))
    for path in paths:
        if path.suffix == ".onnx":
            context.measured.call_once(replace(files, paths=(path,)))
        else:
            RunRecord.read(path)
    return Change(context, name, None)


def compare_with_baseline(
    context: Context,
    files: BenchFiles,
    baseline: str | Path | None,
    inconclusive: str | None,
    *,
    remeasure: bool,
    metrics: Sequence[str],
    thresholds: Limits,
) -> None:
    """Compare a model with its own state at `baseline`, or at the session's baseline."""
    __tracebackhide__ = True
    new = files.paths[-1]
    if not context.settings.judged:
        check_regression(context, new.name, None, inconclusive)
        return
    base = _baseline_of(context, baseline, new)
    if remeasure or base.suffix == ".onnx":
        states = States(base, new, files, tuple(metrics), _thresholds(thresholds))
        check_regression(context, new.name, _remeasured_once(context, states), inconclusive)
        return
    depth = max((Depth.of(comparable(id_)) for id_ in metrics), default=Depth.TIMES)
    record, folder = context.measured.record(files, depth)
    context.note_measurement(folder, record.measurements[0], files.student)
    states = States(base, folder, files, tuple(metrics), _thresholds(thresholds))
    check_regression(context, new.name, _compare_records(RunRecord.read(base), record, states), inconclusive)


def _baseline_of(context: Context, baseline: str | Path | None, new: Path) -> Path:
    """Return the record or the file that is a model's baseline; `baseline` may be a folder of such files."""
    path = context.find(baseline, "baseline") if baseline is not None else context.settings.baseline
    if path is None:
        hint = "name one: --kdbench-baseline=PATH, or no_regression(baseline=PATH)"
        raise InputError(f"{new.name} has no baseline", hint)
    if not path.exists():
        raise InputError(f"there is no baseline at {path}", "check --kdbench-baseline")
    if not (path.is_file() or RunFolder(path).record.exists()):
        candidates = [path / new.name]
        if new.is_relative_to(context.settings.root):  # the checkout of another branch
            candidates.insert(0, path / new.relative_to(context.settings.root))
        file = next((candidate for candidate in candidates if candidate.is_file()), None)
        if file is None:
            message = f"the baseline {path} has neither a record.json nor {new.name}"
            raise InputError(message, "name a run's folder, or a folder with the models of the baseline")
        path = file
    if storage.followed(path) == storage.followed(new):
        # When pytest determines the root folder, it treats `base` in `--kdbench-baseline base` as a folder of tests. If
        # that folder is a project, it becomes the root, and every model would be compared with itself.
        tests = "name the tests, and write --kdbench-baseline=PATH with an equals sign"
        hint = f"{tests}: see the root folder that pytest prints"
        raise InputError(f"{new.name} and its baseline are the same file: {new}", hint)
    return path


def _compare_records(base: RunRecord, new: RunRecord, states: States) -> Comparison:
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
        progress=context.measured.progress,
        command="pytest --benchmark",
    )
    root = context.settings.root
    if states.base.suffix == ".onnx" and states.base.is_relative_to(root):
        # The name alone is usually the same as the new file's.
        comparison = comparison.model_copy(update={"base": states.base.relative_to(root).as_posix()})
    return comparison


def _remeasured_once(context: Context, states: States) -> Comparison:
    """Return a comparison of models measured side by side, made once a session for all tests and processes."""
    hashes = [file_hashes(states.base), file_hashes(states.new)]
    conditions = [states.files.conditions(Depth.TIMES), states.metrics, str(states.thresholds)]
    key = storage.content_hash([*hashes, *conditions])
    out = context.measured.folder / f"compare-{states.new.stem}-{key[:8]}"
    file = RunFolder(out).comparison

    def known() -> Comparison | None:
        return Comparison.read(file) if file.exists() else None

    def make() -> Comparison:
        shutil.rmtree(out, ignore_errors=True)  # left by a worker that was killed
        comparison = _side_by_side(context, states, out)
        storage.make_folder(out)  # identical files are not measured, so there may be no folder
        comparison.write(file)
        return comparison

    return context.measured.once(key, known, make)


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
        raise InputError(f"{name}: {limit!r} is not a valid threshold", _AMOUNTS)
    return amount
