"""The one measuring pass: accuracy and fidelity, then costs, cold start, latency and energy, each by itself."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from kdbench.errors import InputError, MeasurementError
from kdbench.measure.accuracy import accuracy_findings, evaluate, without_accuracy
from kdbench.measure.coldstart import cold_start_findings
from kdbench.measure.consumption import energy_findings
from kdbench.measure.denormals import denormal_findings
from kdbench.measure.diagnosis import latency_warnings
from kdbench.measure.fidelity import fidelity_findings, without_fidelity
from kdbench.measure.jobs import PROVIDERS, JobModel
from kdbench.measure.latency import nothing_sampled, sample
from kdbench.measure.latency_findings import latency_findings, protocol_facts
from kdbench.measure.protocol import Findings, Portion, Protocol, Subject, TestSet, students
from kdbench.measure.ratios import ratio_findings
from kdbench.measure.size import size_findings
from kdbench.measure.staging import scratch, stage
from kdbench.progress import Progress
from kdbench.registry import suggestion

__all__ = ["Findings", "Protocol", "Subject", "TestSet", "measure"]

# Where each pass ends on the watcher's scale of 0 to 1: a guess, for passes differ with the models.
_ACCURACY, _COLD_START, _LATENCY = 0.3, 0.4, 0.9


def measure(
    subjects: Sequence[Subject], test: TestSet | None, protocol: Protocol, workspace: Path, progress: Progress
) -> Findings:
    """Measure every subject and return all that was found, in `workspace` (a folder for what goes to and fro).

    Nothing of the pass stays there, however it ends. A subject that cannot be measured by some metric has that metric
    with the reason instead of a number; the others go on. Without `test` there is no accuracy and inputs are noise.
    Raises InputError for subjects, data and protocol that do not fit each other.
    """
    _check(subjects, protocol)
    with scratch(workspace) as folder:
        return _measure(subjects, test, protocol, folder, progress)


def _measure(
    subjects: Sequence[Subject], test: TestSet | None, protocol: Protocol, folder: Path, progress: Progress
) -> Findings:
    models = stage(subjects, test, folder, protocol.seed)
    timed = [s for s in subjects if s.timed]
    found = _accuracies(subjects, models, test, protocol, folder, Portion(progress, 0, _ACCURACY, "accuracy"))
    for subject in subjects:
        found += size_findings(subject, models[subject.id].shape)
    found += ratio_findings(subjects, found.measurements)
    found += denormal_findings(timed)
    if timed:
        found += cold_start_findings(
            timed, models, protocol, folder, Portion(progress, _ACCURACY, _COLD_START, "cold start")
        )
        found += _latencies(timed, models, protocol, folder, Portion(progress, _COLD_START, _LATENCY, "latency"))
        found += energy_findings(timed, models, protocol, folder, Portion(progress, _LATENCY, 1, "energy"))
    return found


def available_cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _check(subjects: Sequence[Subject], protocol: Protocol) -> None:
    ids = [subject.id for subject in subjects]
    assert len(set(ids)) == len(ids), "two subjects share an id"
    assert all(s.teacher is None or s.teacher in ids for s in subjects), "a subject's teacher is not measured"
    if protocol.provider not in PROVIDERS:
        raise InputError(f"unknown provider {protocol.provider!r}", suggestion(protocol.provider, PROVIDERS))
    if protocol.provider != "cpu":
        _require_provider(PROVIDERS[protocol.provider])
    if min(protocol.threads) < 1 or min(protocol.batch) < 1 or protocol.sessions < 1:
        raise InputError("threads, batch and sessions are counted from 1", "see --help for the defaults")
    if protocol.budget_s <= 0:
        raise InputError(f"a latency budget of {protocol.budget_s} s", "give it some seconds, for example 10")


def _require_provider(name: str) -> None:
    import onnxruntime

    if name not in onnxruntime.get_available_providers():
        raise InputError(
            f"this onnxruntime has no {name}", "install onnxruntime-gpu in place of onnxruntime, or use --provider cpu"
        )


def _accuracies(
    subjects: Sequence[Subject],
    models: Mapping[str, JobModel],
    test: TestSet | None,
    protocol: Protocol,
    folder: Path,
    progress: Portion,
) -> Findings:
    """Return accuracy of every subject and fidelity of every student; without a test set, why there is none."""
    found = Findings()
    if test is None:
        for subject in subjects:
            found += without_accuracy(subject, "no test data was given", "unavailable")
        for teacher, student in students(subjects):
            found += without_fidelity(teacher, student, "no test data was given", "unavailable")
        return found
    evaluations = evaluate(subjects, models, test, protocol.provider, available_cores(), folder, progress)
    for subject in subjects:
        found += accuracy_findings(subject, evaluations[subject.id], test.labels)
    for teacher, student in students(subjects):
        found += fidelity_findings(teacher, student, evaluations)
    return found


def _latencies(
    subjects: Sequence[Subject],
    models: Mapping[str, JobModel],
    protocol: Protocol,
    folder: Path,
    progress: Portion,
) -> Findings:
    try:
        sampled = sample(subjects, models, protocol, folder, progress)
    except MeasurementError as error:
        sampled = nothing_sampled(subjects, protocol, error)
    found = latency_findings(subjects, sampled, protocol)
    return found + Findings(
        warnings=tuple(latency_warnings(sampled, protocol)), protocol=protocol_facts(sampled, protocol)
    )
