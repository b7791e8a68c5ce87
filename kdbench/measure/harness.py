"""The one measuring pass: one kind of number after the other, each in processes of its own, and what disturbed them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kdbench.errors import MeasurementError
from kdbench.evaluate.plan import Analyses, TrainingImages
from kdbench.evaluate.predictions import answer_findings
from kdbench.machine.cores import choose_cores
from kdbench.machine.diagnostics import condition_averages, session_diagnostics, thread_diagnostics
from kdbench.machine.lock import machine_lock
from kdbench.machine.system_monitor import Conditions
from kdbench.measure.admission import ONNXRUNTIME, absent_runtimes, admit, evaluation_provider, require_runtimes
from kdbench.measure.admission_findings import admission_findings
from kdbench.measure.bench_model import SEED, BenchModel, TestSet
from kdbench.measure.coldstart import cold_start_findings
from kdbench.measure.denormals import denormal_findings
from kdbench.measure.energy.findings import energy_findings
from kdbench.measure.energy.rounds import expected_s, sources_for
from kdbench.measure.latency.configurations import configurations
from kdbench.measure.latency.diagnosis import latency_warnings
from kdbench.measure.latency.findings import latency_findings, protocol_facts
from kdbench.measure.latency.precision import imprecision
from kdbench.measure.latency.sessions import nothing_sampled, sample
from kdbench.measure.memory import memory_findings
from kdbench.measure.network import Refusal
from kdbench.measure.offline.findings import offline_findings
from kdbench.measure.profiling import profile_findings
from kdbench.measure.ratios import ratio_findings
from kdbench.measure.size import size_findings
from kdbench.measure.staging import scratch, stage
from kdbench.meters.carbon import carbon_intensity
from kdbench.progress import Progress, SubProgress
from kdbench.recipe.measure import Measure
from kdbench.results.findings import Findings
from kdbench.worker.jobs import JobModel

__all__ = [
    "Analyses",
    "BenchModel",
    "Findings",
    "Measure",
    "TestSet",
    "TrainingImages",
    "check_protocol",
    "measure",
]

# Where each pass but energy's ends on a scale of 0 to 1, and how long they take besides latency's budget: guesses, for
# passes differ with the models.
_ADMISSION, _ACCURACY, _COLD_START, _MEMORY, _LATENCY, _OFFLINE = 0.1, 0.33, 0.4, 0.45, 0.9, 0.97
_BESIDE_LATENCY_S = 20.0


def check_protocol(config: Measure, progress: Progress) -> None:
    """Raise InputError for what this machine cannot do: before anything is trained or measured, not after."""
    choose_cores(config.cores, config.threads)
    if config.country is not None:
        carbon_intensity(config.country)
    require_runtimes(config, progress)


def measure(
    subjects: Sequence[BenchModel],
    test: TestSet | None,
    config: Measure,
    workspace: Path,
    progress: Progress,
    analyses: Analyses | None = None,
) -> Findings:
    """Measure every subject and return all that was found, in `workspace` (a folder for what goes to and fro).

    Nothing of the pass stays there, however it ends. While another kdbench measures on this machine, it waits. A
    subject that cannot be measured by some metric has that metric with the reason instead of a number; the others go
    on. Without `test` there is no accuracy and inputs are noise. `analyses` say what else logits are asked for.
    Raises InputError for subjects, data and protocol that do not fit each other.
    """
    _check(subjects, config)
    with scratch(workspace) as folder, machine_lock(progress):
        absent = absent_runtimes(config)
        found = _measure(subjects, test, analyses or Analyses(), config, absent, folder, progress)
    return found + _hardware_dependent(found.conditions, config)


def _measure(
    subjects: Sequence[BenchModel],
    test: TestSet | None,
    analyses: Analyses,
    config: Measure,
    absent: Mapping[str, Refusal],
    folder: Path,
    progress: Progress,
) -> Findings:
    models = stage(subjects, test, folder, SEED)
    meters = sources_for(config)
    rest_s = config.budget_s + _BESIDE_LATENCY_S
    until_energy = rest_s / (rest_s + expected_s([s for s in subjects if s.timed], config, meters))
    energy = SubProgress(progress, until_energy, 1, "energy")
    progress = SubProgress(progress, 0, until_energy, "")
    admitted = admit(subjects, models, config, absent, folder, SubProgress(progress, 0, _ADMISSION, "runtimes"))
    subjects = admitted.subjects
    timed = [s for s in subjects if s.timed and ONNXRUNTIME not in s.refused]
    accuracy = SubProgress(progress, _ADMISSION, _ACCURACY, "accuracy")
    provider = evaluation_provider(subjects, config)
    found = answer_findings(subjects, models, test, analyses, provider, folder, accuracy)
    for subject in subjects:
        found += size_findings(subject, models[subject.id].shape)
    found += ratio_findings(subjects, found.measurements)
    found += denormal_findings(timed)
    if timed:
        found += cold_start_findings(
            timed, models, config, folder, SubProgress(progress, _ACCURACY, _COLD_START, "cold start")
        )
        found += memory_findings(timed, models, config, folder, SubProgress(progress, _COLD_START, _MEMORY, "memory"))
    called = [s for s in subjects if s.timed]
    if configurations(called, config):  # none where only throughput was asked for, or every runtime refused
        found += _latencies(called, models, config, folder, SubProgress(progress, _MEMORY, _LATENCY, "latency"))
    found += admission_findings(admitted, config)  # behind what was measured: the first axes are the headline
    if timed:
        found += offline_findings(timed, models, config, folder, SubProgress(progress, _LATENCY, _OFFLINE, "offline"))
        found += profile_findings(timed, models, config, folder, SubProgress(progress, _OFFLINE, 1, "layers"))
        found += energy_findings(timed, models, config, meters, folder, energy)
    return found


def _check(subjects: Sequence[BenchModel], config: Measure) -> None:
    ids = [subject.id for subject in subjects]
    assert len(set(ids)) == len(ids), "two subjects share an id"
    assert all(s.teacher is None or s.teacher in ids for s in subjects), "a subject's teacher is not measured"
    choose_cores(config.cores, config.threads)


def _latencies(
    subjects: Sequence[BenchModel],
    models: Mapping[str, JobModel],
    config: Measure,
    folder: Path,
    progress: SubProgress,
) -> Findings:
    try:
        sampled = sample(subjects, models, config, folder, progress)
    except MeasurementError as error:
        sampled = nothing_sampled(subjects, config, error)
    found = latency_findings(subjects, sampled, config)
    return found + Findings(
        warnings=(*imprecision(sampled.width, config, sampled.plan), *latency_warnings(sampled, config)),
        protocol=protocol_facts(sampled, config),
        conditions=sampled.conditions,
    )


def _hardware_dependent(conditions: Sequence[Conditions], config: Measure) -> Findings:
    """Return what disturbed the sessions, and whether the threads had the cores they need."""
    cores = choose_cores(config.cores, config.threads)
    warnings = (*session_diagnostics(conditions), *thread_diagnostics(max(config.threads), cores))
    return Findings(warnings=warnings, protocol=condition_averages(conditions))
