"""The one measuring pass: one kind of number after the other, each in processes of its own, and what disturbed them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kdbench.errors import InputError, MeasurementError
from kdbench.evaluate.plan import Analyses, TrainingImages
from kdbench.evaluate.predictions import answer_findings
from kdbench.machine.core_choice import chosen_cores
from kdbench.machine.disturbance import condition_facts, condition_warnings, threads_warnings
from kdbench.machine.lock import alone_on_machine
from kdbench.machine.system_monitor import Conditions
from kdbench.measure.admission import ONNXRUNTIME, absent_runtimes, admit, evaluation_provider, require_runtimes
from kdbench.measure.admission_findings import admission_findings
from kdbench.measure.coldstart import cold_start_findings
from kdbench.measure.denormals import denormal_findings
from kdbench.measure.energy.findings import energy_findings
from kdbench.measure.energy.rounds import MODES, expected_s, sources_for
from kdbench.measure.latency.configurations import configurations
from kdbench.measure.latency.diagnosis import latency_warnings
from kdbench.measure.latency.findings import latency_findings, protocol_facts
from kdbench.measure.latency.precision import imprecision
from kdbench.measure.latency.sessions import nothing_sampled, sample
from kdbench.measure.memory import memory_findings
from kdbench.measure.network import Refusal
from kdbench.measure.offline.findings import offline_findings
from kdbench.measure.profiling import profile_findings
from kdbench.measure.protocol import BenchModel, Findings, Protocol, SubProgress, TestSet
from kdbench.measure.ratios import ratio_findings
from kdbench.measure.size import size_findings
from kdbench.measure.staging import scratch, stage
from kdbench.meters.carbon import carbon_intensity
from kdbench.progress import Progress
from kdbench.registry import suggestion
from kdbench.worker.jobs import PROVIDERS, JobModel

__all__ = [
    "Analyses",
    "BenchModel",
    "Findings",
    "Protocol",
    "TestSet",
    "TrainingImages",
    "check_protocol",
    "measure",
]

# Where each pass but energy's ends on a scale of 0 to 1, and how long they take besides latency's budget: guesses, for
# passes differ with the models.
_ADMISSION, _ACCURACY, _COLD_START, _MEMORY, _LATENCY, _OFFLINE = 0.1, 0.33, 0.4, 0.45, 0.9, 0.97
_BESIDE_LATENCY_S = 20.0


def check_protocol(protocol: Protocol, progress: Progress) -> None:
    """Raise InputError for what this machine cannot do: before anything is trained or measured, not after."""
    chosen_cores(protocol.cores, protocol.threads)
    if protocol.energy not in {"off", *MODES}:
        raise InputError(f"unknown energy mode {protocol.energy!r}", suggestion(protocol.energy, ["off", *MODES]))
    if protocol.country is not None:
        carbon_intensity(protocol.country)
    require_runtimes(protocol, progress)


def measure(
    subjects: Sequence[BenchModel],
    test: TestSet | None,
    protocol: Protocol,
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
    _check(subjects, protocol)
    with scratch(workspace) as folder, alone_on_machine(progress):
        absent = absent_runtimes(protocol)
        found = _measure(subjects, test, analyses or Analyses(), protocol, absent, folder, progress)
    return found + _hardware_dependent(found.conditions, protocol)


def _measure(
    subjects: Sequence[BenchModel],
    test: TestSet | None,
    analyses: Analyses,
    protocol: Protocol,
    absent: Mapping[str, Refusal],
    folder: Path,
    progress: Progress,
) -> Findings:
    models = stage(subjects, test, folder, protocol.seed)
    meters = sources_for(protocol)
    rest_s = protocol.budget_s + _BESIDE_LATENCY_S
    until_energy = rest_s / (rest_s + expected_s([s for s in subjects if s.timed], protocol, meters))
    energy = SubProgress(progress, until_energy, 1, "energy")
    progress = SubProgress(progress, 0, until_energy, "")
    admitted = admit(subjects, models, protocol, absent, folder, SubProgress(progress, 0, _ADMISSION, "runtimes"))
    subjects = admitted.subjects
    timed = [s for s in subjects if s.timed and ONNXRUNTIME not in s.refused]
    accuracy = SubProgress(progress, _ADMISSION, _ACCURACY, "accuracy")
    provider = evaluation_provider(subjects, protocol)
    found = answer_findings(subjects, models, test, analyses, provider, folder, accuracy)
    for subject in subjects:
        found += size_findings(subject, models[subject.id].shape)
    found += ratio_findings(subjects, found.measurements)
    found += denormal_findings(timed)
    if timed:
        found += cold_start_findings(
            timed, models, protocol, folder, SubProgress(progress, _ACCURACY, _COLD_START, "cold start")
        )
        found += memory_findings(timed, models, protocol, folder, SubProgress(progress, _COLD_START, _MEMORY, "memory"))
    called = [s for s in subjects if s.timed]
    if configurations(called, protocol):  # none where only throughput was asked for, or every runtime refused
        found += _latencies(called, models, protocol, folder, SubProgress(progress, _MEMORY, _LATENCY, "latency"))
    found += admission_findings(admitted, protocol)  # behind what was measured: the first axes are the headline
    if timed:
        found += offline_findings(timed, models, protocol, folder, SubProgress(progress, _LATENCY, _OFFLINE, "offline"))
        found += profile_findings(timed, models, protocol, folder, SubProgress(progress, _OFFLINE, 1, "layers"))
        found += energy_findings(timed, models, protocol, meters, folder, energy)
    return found


def _check(subjects: Sequence[BenchModel], protocol: Protocol) -> None:
    ids = [subject.id for subject in subjects]
    assert len(set(ids)) == len(ids), "two subjects share an id"
    assert all(s.teacher is None or s.teacher in ids for s in subjects), "a subject's teacher is not measured"
    if protocol.provider not in PROVIDERS:
        raise InputError(f"unknown provider {protocol.provider!r}", suggestion(protocol.provider, PROVIDERS))
    if min((*protocol.threads, *protocol.batch)) < 1 or protocol.sessions < 1:
        raise InputError("threads, batch and sessions are counted from 1", "see --help for the defaults")
    chosen_cores(protocol.cores, protocol.threads)
    if protocol.budget_s <= 0:
        raise InputError(f"a latency budget of {protocol.budget_s} s", "give it some seconds, for example 10")


def _latencies(
    subjects: Sequence[BenchModel],
    models: Mapping[str, JobModel],
    protocol: Protocol,
    folder: Path,
    progress: SubProgress,
) -> Findings:
    try:
        sampled = sample(subjects, models, protocol, folder, progress)
    except MeasurementError as error:
        sampled = nothing_sampled(subjects, protocol, error)
    found = latency_findings(subjects, sampled, protocol)
    return found + Findings(
        warnings=(*imprecision(sampled.width, protocol, sampled.plan), *latency_warnings(sampled, protocol)),
        protocol=protocol_facts(sampled, protocol),
        conditions=sampled.conditions,
    )


def _hardware_dependent(conditions: Sequence[Conditions], protocol: Protocol) -> Findings:
    """Return what disturbed the sessions, and whether the threads had the cores they need."""
    cores = chosen_cores(protocol.cores, protocol.threads)
    warnings = (*condition_warnings(conditions), *threads_warnings(max(protocol.threads), cores))
    return Findings(warnings=warnings, protocol=condition_facts(conditions))
