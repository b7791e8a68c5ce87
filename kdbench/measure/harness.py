"""The harness: runs the passes one after the other and adds, for every number that is missing, the reason."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path

from kdbench.errors import InputError
from kdbench.evaluate.predictions import Analyses
from kdbench.machine.cores import choose_cores
from kdbench.machine.diagnostics import condition_averages, session_diagnostics, thread_diagnostics
from kdbench.machine.lock import machine_lock
from kdbench.measure.admission import absent_runtimes, admission_s, admit, require_runtimes
from kdbench.measure.bench_model import BenchModel, Refusable, TestSet
from kdbench.measure.context import Context, Expected, Pass, all_passes
from kdbench.measure.earlier_runs import EarlierRuns
from kdbench.measure.energy.carbon import carbon_intensity
from kdbench.measure.energy.rounds import require_estimator, sources_for
from kdbench.measure.predictions.batches import batches_s, determine_batches
from kdbench.measure.staging import scratch, stage
from kdbench.measure.timed import ONNXRUNTIME, SEED
from kdbench.progress import Progress, SubProgress
from kdbench.recipe.tables.measure import Measure
from kdbench.results.findings import Failure, Findings, missing_pair
from kdbench.results.records import Axes, Measurement, Pair, missing

_Key = tuple[str | None, str, str, frozenset[tuple[str, str | int]]]


def check_config(config: Measure, progress: Progress) -> None:
    """Raise InputError for what this machine cannot do, before anything is trained or measured."""
    choose_cores(config.cores, config.threads)
    others = [name for name in config.runtime if name != ONNXRUNTIME]
    if others and not config.times:
        message = f"without times, models run in onnxruntime only: nothing would be measured in {', '.join(others)}"
        raise InputError(message, "measure times too, or leave the other runtimes out")
    if config.country is not None:
        carbon_intensity(config.country)
    require_estimator(config)
    require_runtimes(config, progress)


def measure(
    models: Sequence[BenchModel],
    test: TestSet | None,
    config: Measure,
    workspace: Path,
    progress: Progress,
    analyses: Analyses | None = None,
) -> Findings:
    """Measure every model and return the findings of all passes; `workspace` is a folder for temporary files.

    The temporary files are removed, however the measurement ends. While another kdbench measures times on the machine,
    this one waits. A metric that cannot be measured has the reason instead of a number, and the other models continue.
    Without `test` there is no accuracy, and inputs are noise. `analyses` are the optional analyses of predictions.
    Raises InputError for models, data and configuration that do not fit each other.
    """
    ids = [model.id for model in models]
    assert len(set(ids)) == len(ids), "two models share an id"
    assert all(model.teacher is None or model.teacher in ids for model in models), "a teacher is not among the models"
    cores = choose_cores(config.cores, config.threads)
    lock = machine_lock(progress) if any(model.timed for model in models) else nullcontext()
    with scratch(workspace) as folder, lock:
        absent = absent_runtimes(config)
        context = Context(
            models=models,
            config=config,
            test=test,
            analyses=analyses or Analyses(),
            meters=sources_for(config),
            jobs=stage([model for model in models if model.refusal is None], test, folder, SEED),
            folder=folder,
            earlier_runs=EarlierRuns.of_user(),
        )
        passes = all_passes()
        weights = {"runtimes": admission_s(context), "batches": batches_s(context)} | {
            name: p.weight(context) for name, p in passes.items()
        }
        total = sum(weights.values()) or 1.0
        edges = pairwise([0.0, *accumulate(weight / total for weight in weights.values())])
        parts = {name: SubProgress(progress, *ends, name) for name, ends in zip(weights, edges, strict=True)}
        context = admit(replace(context, progress=parts["runtimes"]), absent)
        context, batch_warnings = determine_batches(replace(context, progress=parts["batches"]))
        findings = run_passes(context, passes, parts)
    return findings + Findings(
        warnings=(
            *batch_warnings,
            *session_diagnostics(context.conditions),
            *(thread_diagnostics(max(config.threads), cores) if config.times else ()),
        ),
        protocol=condition_averages(context.conditions),
    )


def run_passes(context: Context, passes: Mapping[str, Pass], progress: Mapping[str, Progress]) -> Findings:
    """Return the findings of the passes, by name, with the reason for every expected number that is missing."""
    findings, all_refused = Findings(), Findings()
    for name, measuring_pass in passes.items():
        part = replace(context, progress=progress[name])
        result, refused = with_missing(context.models, measuring_pass.expected(part), measuring_pass.run(part))
        findings += result
        all_refused += refused
    return findings + all_refused


def with_missing(
    models: Sequence[Refusable], expected: Iterable[Expected], findings: Findings
) -> tuple[Findings, Findings]:
    """Return the findings of a pass with the missing numbers of failed models, and the numbers of refused models.

    The findings follow the order of the axes in `expected`, because a metric's first axes are its headline. For the
    same reason the numbers of refused models must come after those of all passes.
    """
    by_id = {model.id: model for model in models}
    expected = list(expected)
    present = {_key(m) for m in findings.measurements} | {_key(pair) for pair in findings.pairs}
    varying = {(item.metric, item.varies) for item in expected if item.varies is not None}
    present |= {_key(m, axis) for m in findings.measurements for metric, axis in varying if m.metric == metric}
    present |= {_key(pair, axis) for pair in findings.pairs for metric, axis in varying if pair.metric == metric}
    failed, refused = Findings(), Findings()
    for item in (item for item in expected if _key(item) not in present):
        refusal = _refusal(item, by_id)
        if refusal is not None:
            refused += _missing(item, refusal)
        else:
            failed += _missing(item, _failure(item, by_id, findings.failures))
    order = {axes: number for number, axes in enumerate(dict.fromkeys(_hashable(item.axes) for item in expected))}
    findings += failed
    if failed.measurements or failed.pairs:
        findings = findings.sorted(lambda m: order.get(_hashable(m.axes), len(order)))
    return findings, refused


def _refusal(item: Expected, models: Mapping[str, Refusable]) -> Failure | None:
    for id_ in (item.model, *item.needs):
        refusal = models[id_].refusal_in(item.runtime)
        if refusal is not None:
            status = refusal.status if id_ == item.model and item.teacher is None else "unavailable"
            reason = f"{models[id_].name} was not measured: {refusal.reason}" if item.needs else refusal.reason
            return Failure(id_, reason, status, refusal.hint)
    return None


def _failure(item: Expected, models: Mapping[str, Refusable], failures: Sequence[Failure]) -> Failure:
    covering = [failure for failure in failures if failure.covers(item.metric, item.axes)]
    overall = next((failure for failure in covering if failure.model is None), None)
    if overall is not None:
        return overall
    for id_ in (item.model, *item.needs):
        # The most specific failure is the one with the most axes.
        failure = max((f for f in covering if f.model == id_), key=lambda f: len(f.axes), default=None)
        if failure is not None:
            status = failure.status if id_ == item.model else "unavailable"
            # The reason of a failure that names metrics needs no model's name: it is about the numbers.
            name_model = item.needs and not failure.metrics
            reason = f"{models[id_].name} failed: {failure.reason}" if name_model else failure.reason
            return replace(failure, reason=reason, status=status)
    return Failure(None, "the pass returned no number")


def _missing(item: Expected, failure: Failure) -> Findings:
    number, axes, status = (item.model, item.metric, failure.reason), dict(item.axes), failure.status
    if item.teacher is not None:
        return Findings(pairs=(missing_pair(item.teacher, *number, status, axes=axes),))
    return Findings((missing(*number, status=status, hint=failure.hint, axes=axes, source=failure.source),))


def _key(item: Expected | Measurement | Pair, without: str | None = None) -> _Key:
    teacher = None if isinstance(item, Measurement) else item.teacher
    model = item.student if isinstance(item, Pair) else item.model
    return teacher, model, item.metric, _hashable({key: v for key, v in item.axes.items() if key != without})


def _hashable(axes: Axes) -> frozenset[tuple[str, str | int]]:
    return frozenset(axes.items())
