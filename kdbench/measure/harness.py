"""The harness: runs the passes one after the other and adds, for every number that is missing, the reason."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path

from kdbench.evaluate.analyses import Analyses
from kdbench.machine.cores import choose_cores
from kdbench.machine.diagnostics import condition_averages, session_diagnostics, thread_diagnostics
from kdbench.machine.lock import machine_lock
from kdbench.measure.admission import absent_runtimes, admission_s, admit, require_runtimes
from kdbench.measure.bench_model import SEED, BenchModel, TestSet
from kdbench.measure.context import Context, Pass, all_passes
from kdbench.measure.energy.carbon import carbon_intensity
from kdbench.measure.energy.rounds import sources_for
from kdbench.measure.missing import with_missing
from kdbench.measure.staging import scratch, stage
from kdbench.progress import Progress, SubProgress
from kdbench.recipe.measure import Measure
from kdbench.results.findings import Findings


def check_config(config: Measure, progress: Progress) -> None:
    """Raise InputError for what this machine cannot do, before anything is trained or measured."""
    choose_cores(config.cores, config.threads)
    if config.country is not None:
        carbon_intensity(config.country)
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

    The folder is empty again afterwards, however the measurement ends. Only one kdbench measures on a machine; this one
    waits for another. A metric that cannot be measured has the reason instead of a number, and the other models go on.
    Without `test` there is no accuracy, and inputs are noise. `analyses` are the optional analyses of predictions.
    Raises InputError for models, data and configuration that do not fit each other.
    """
    ids = [model.id for model in models]
    assert len(set(ids)) == len(ids), "two models share an id"
    assert all(model.teacher is None or model.teacher in ids for model in models), "a teacher is not among the models"
    cores = choose_cores(config.cores, config.threads)
    with scratch(workspace) as folder, machine_lock(progress):
        absent = absent_runtimes(config)
        context = Context(
            models=models,
            config=config,
            test=test,
            analyses=analyses or Analyses(),
            meters=sources_for(config),
            jobs=stage([model for model in models if model.refusal is None], test, folder, SEED),
            folder=folder,
        )
        passes = all_passes()
        weights = {name: a_pass.weight(context) for name, a_pass in passes.items()}
        parts = _parts(progress, {"runtimes": admission_s(context), **weights})
        context = admit(replace(context, progress=parts["runtimes"]), absent)
        findings = run_passes(context, passes, parts)
    return findings + Findings(
        warnings=(*session_diagnostics(context.conditions), *thread_diagnostics(max(config.threads), cores)),
        protocol=condition_averages(context.conditions),
    )


def run_passes(context: Context, passes: Mapping[str, Pass], progress: Mapping[str, Progress]) -> Findings:
    """Return the findings of the passes, by name, with the reason for every expected number that is missing."""
    findings, all_refused = Findings(), Findings()
    for name, a_pass in passes.items():
        part = replace(context, progress=progress[name])
        result, refused = with_missing(context.models, a_pass.expected(part), a_pass.run(part))
        findings += result
        all_refused += refused
    return findings + all_refused


def _parts(progress: Progress, weights: Mapping[str, float]) -> dict[str, SubProgress]:
    """Return the progress of each named part, whose share is its weight's."""
    total = sum(weights.values()) or 1.0
    ends = [0.0, *accumulate(weight / total for weight in weights.values())]
    return {
        name: SubProgress(progress, start, end, name)
        for name, (start, end) in zip(weights, pairwise(ends), strict=True)
    }
