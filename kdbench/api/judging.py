"""`judge` and `compare`: decisions on results, from Python."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdbench.api.decisions import Comparison, Verdict
from kdbench.api.inputs import input_options
from kdbench.api.progress import progress_display
from kdbench.api.results import Results
from kdbench.errors import InputError
from kdbench.judge.compare.records import compare as compare_records
from kdbench.judge.compare.thresholds import Thresholds
from kdbench.judge.readiness import judge as judge_record
from kdbench.judge.target import Target, load_target
from kdbench.progress import Progress
from kdbench.recipe import InputOptions, Measure
from kdbench.results.records import RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.results.samples import Samples, read_samples
from kdbench.user_input.arguments import checked
from kdbench.user_input.hints import python_hints

Run = Results | RunRecord | str | Path
"""Results, a record, or the path of a run's folder or record."""


@checked
def judge(run: Run, target: Target | str | Path, models: Sequence[str] | str | None = None) -> Verdict:
    """Return the verdict on a run's models: READY, NOT READY or INCONCLUSIVE for a device, and why.

        >>> verdict = kdbench.judge("runs/digits", "server-cpu")
        >>> verdict.outcome in {"READY", "NOT READY", "INCONCLUSIVE"}
        True

    `target` is the name of a shipped target (`kdbench list targets`) or a .toml file of limits. `models` are the ids of
    the models to judge, by default of all but the teachers. Raises InputError for an unknown target or model.
    """
    named = [models] if isinstance(models, str) else models
    _require_models(named)
    return Verdict.of(judge_record(_record(run), target if isinstance(target, Target) else load_target(target), named))


@checked
@python_hints(inputs="inputs")
def compare(
    base: Run,
    new: Run,
    *,
    models: Mapping[str, str] | Sequence[str] | str | None = None,
    metrics: Sequence[str] = (),
    thresholds: Mapping[str, float] | None = None,
    remeasure: bool = False,
    measure: Measure | Mapping[str, Any] | None = None,
    data: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Return which metrics changed from `base` to `new`, significantly and by more than a threshold.

        >>> comparison = kdbench.compare("runs/digits", "runs/digits", metrics=["top1", "macs"])
        >>> comparison.overall, comparison.regressions
        ('same', ())

    Both are results, records, or paths of runs or of .onnx files. Files are measured side by side on `data`, with the
    settings `measure`; with `remeasure`, so are the models of runs. `inputs` takes the other input keywords of `bench`,
    such as `{"scale": 1}`. `models` maps each model of `base` to the one that replaces it in `new`, or lists the models
    to compare. `thresholds` maps a metric to how much worse it may become: a share of the base, or percentage points
    for accuracies. Raises InputError for runs or files that cannot be compared.
    """
    _require_models(models)
    partners = _partners(models)
    limits = Thresholds(by_metric=dict(thresholds or {}))
    if remeasure or any(_is_file(state) for state in (base, new)):
        from kdbench.workflows.remeasure import remeasure as measure_again

        with progress_display(progress) as display:
            comparison, _ = measure_again(
                _path(base),
                _path(new),
                models=partners,
                metrics=metrics,
                thresholds=limits,
                inputs=_inputs(data, inputs),
                options=measure if isinstance(measure, Measure) else Measure(**(measure or {})),
                out=out,
                progress=display,
            )
        return Comparison.of(comparison)
    of_measurement = {"measure": measure, "data": data, "inputs": inputs, "out": out}
    if unused := [name for name, value in of_measurement.items() if value is not None]:
        message = f"{unused[0]} applies only to a new measurement, but stored records are compared"
        raise InputError(message, f"add remeasure=True, or leave {unused[0]} out")
    compared = compare_records(
        _record(base),
        _record(new),
        models=partners or {},
        metrics=metrics,
        thresholds=limits,
        base_samples=_samples(base),
        new_samples=_samples(new),
    )
    return Comparison.of(compared)


def _require_models(models: Collection[str] | None) -> None:
    """Raise InputError for an empty choice, which is a mistake rather than a choice of all."""
    if models is not None and not models:
        raise InputError("models is empty", "name at least one model, or leave models out: then it is all")


def _inputs(data: str | None, others: Mapping[str, Any] | None) -> InputOptions | None:
    if data is None and others is None:
        return None
    return input_options({**(others or {}), **({} if data is None else {"data": data})})


def _partners(models: Mapping[str, str] | Sequence[str] | str | None) -> Mapping[str, str] | None:
    if models is None or isinstance(models, Mapping):
        return models
    return {name: name for name in ([models] if isinstance(models, str) else models)}


def _record(run: Run) -> RunRecord:
    if isinstance(run, Results):
        return run.record
    if isinstance(run, RunRecord):
        return run
    if _is_file(run):
        raise InputError(f"{run} is a model, not a run", "measure it first: kdbench.bench")
    return RunRecord.read(run)


def _samples(run: Run) -> Samples:
    if isinstance(run, Results):
        return run.content.samples
    return {} if isinstance(run, RunRecord) else read_samples(RunFolder.of(run).samples)


def _path(run: Run) -> Path:
    if isinstance(run, RunRecord):
        raise InputError("a record has no models to measure again", "give the path of its run, or of .onnx files")
    return run.folder if isinstance(run, Results) else Path(run)


def _is_file(run: Run) -> bool:
    return isinstance(run, str | Path) and Path(run).suffix == ".onnx"
