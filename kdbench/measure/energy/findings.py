"""What the windows of energy say of each model, as a record holds it, or why they say nothing."""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from kdbench.measure.bench_model import BenchModel, energy_metrics, outer_batches, students
from kdbench.measure.energy.account import Account, Value, gross, net, ratio
from kdbench.measure.energy.rounds import EnergySamples, runs_of, take
from kdbench.meters.carbon import CarbonIntensity, carbon_intensity, emission
from kdbench.meters.choice import Choice
from kdbench.meters.meter import Unavailable
from kdbench.progress import SubProgress
from kdbench.recipe.measure import Measure
from kdbench.results.findings import Findings, interval_of
from kdbench.results.records import Interval, Measurement, Pair, Status, measured, missing
from kdbench.worker.jobs import JobModel
from kdbench.worker.process import WorkerError


def energy_findings(
    subjects: Sequence[BenchModel],
    models: Mapping[str, JobModel],
    config: Measure,
    choice: Choice,
    folder: Path,
    progress: SubProgress,
) -> Findings:
    """Return energy per inference and per run of each subject, at batch 1 and at the largest, and students' ratios.

    `choice` is that of `sources_for`; where nothing counts the part that runs the models every value is unavailable,
    with the reason.
    """
    intensity = carbon_intensity(config.country) if config.country else None
    found = Findings(protocol={"carbon": intensity.to_json()} if intensity else {})
    if isinstance(choice.leading, Unavailable):
        return found + _without(subjects, config, choice.leading, "unavailable")
    try:
        taken = take(runs_of(subjects, config), models, config, choice, folder, progress)
    except WorkerError as error:
        return found + _without(subjects, config, Unavailable(error.message, error.hint), "error")
    if isinstance(taken, Unavailable):
        return found + _without(subjects, config, taken, "error")
    return found + Findings(
        measurements=tuple(m for s in subjects for m in _of_subject(s, taken, config, intensity)),
        pairs=tuple(p for t, s in students(subjects) for p in _ratios(t, s, taken, config)),
        samples=dict(taken.samples),
        protocol={"energy_pass": dict(taken.facts)},
    )


def _of_subject(
    subject: BenchModel, taken: EnergySamples, config: Measure, intensity: CarbonIntensity | None
) -> Iterator[Measurement]:
    """Yield what each scope says of each run: the leading one's without saying its scope, then all with it."""
    for batch in outer_batches(subject, config):
        axes = _axes(config, batch)
        if (subject.id, batch) not in taken.accounts:
            yield from _missing(subject.id, axes, Unavailable(taken.failed[subject.id]), "error", config)
            continue
        leading, *beside = taken.accounts[subject.id, batch]
        yield from _of_account(subject.id, leading, batch, axes, intensity)
        together = [reduce(add, [leading, *beside])] if beside else []
        for account in (*beside, *together):
            yield from _of_account(subject.id, account, batch, {**axes, "scope": account.scope}, intensity)


def _of_account(
    model: str, account: Account, batch: int, axes: Mapping[str, str | int], intensity: CarbonIntensity | None
) -> Iterator[Measurement]:
    of_call = gross(account)
    per_inference = _measurement(model, "energy_j", of_call, batch, account, axes)
    yield per_inference
    if account.evidence == "measured":
        yield _measurement(model, "energy_net_j", net(account), batch, account, axes)
    else:
        yield _without_number(model, "energy_net_j", "unavailable", "an estimate has no idle power", account, axes)
    yield _measurement(model, "energy_run_j", of_call, 1, account, axes)
    if intensity is not None:
        yield emission(per_inference, "co2_g", intensity)


def _measurement(
    model: str, metric: str, value: Value, among: int, account: Account, axes: Mapping[str, str | int]
) -> Measurement:
    """Return `value`, divided `among` so many inferences, as a measurement. An estimate has no interval.

    The spread of what is made of one assumed power says nothing of how wrong that power is.
    """
    joules, half = value.joules / among, value.half_width_j / among
    if not value.resolved:
        reason = "within its uncertainty of 0"
        return _without_number(model, metric, "below_resolution", reason, account, axes)
    return measured(
        model,
        metric,
        joules,
        axes=axes,
        interval=Interval(low=joules - half, high=joules + half) if account.evidence == "measured" else None,
        n=len(account.gross_j),
        source=account.source,
        evidence=account.evidence,
        unstable=value.unstable,
    )


def _without_number(
    model: str, metric: str, status: Status, reason: str, account: Account, axes: Mapping[str, str | int]
) -> Measurement:
    return missing(model, metric, reason, status=status, axes=axes, source=account.source, evidence=account.evidence)


def _ratios(teacher: BenchModel, student: BenchModel, taken: EnergySamples, config: Measure) -> Iterator[Pair]:
    """Yield teacher over student of the leading scope's gross energy per inference, at each batch of the student."""
    for batch in outer_batches(student, config):
        both = {"teacher": teacher.id, "student": student.id, "axes": _axes(config, batch)}
        lacking = next((each.id for each in (teacher, student) if (each.id, batch) not in taken.accounts), None)
        if lacking is None:
            yield _ratio(taken.accounts[teacher.id, batch][0], taken.accounts[student.id, batch][0], both)
        else:
            reason = f"{lacking}: {taken.failed.get(lacking, f'not run at batch {batch}')}"
            yield Pair(metric="energy_ratio", value=None, status="unavailable", reason=reason, **both)


def _ratio(teacher: Account, student: Account, both: Mapping[str, Any]) -> Pair:
    """Return the pair of two accounts; `both` says whose they are, and at which axes."""
    how = {"metric": "energy_ratio", "evidence": teacher.evidence, **both}
    of_each = {both["teacher"]: gross(teacher), both["student"]: gross(student)}
    if not all(value.resolved for value in of_each.values()):
        return Pair(value=None, status="below_resolution", reason="an energy is within its uncertainty of 0", **how)
    unstable = next((f"{id_}: {value.unstable}" for id_, value in of_each.items() if value.unstable), None)
    found = ratio(teacher, student)
    return Pair(
        value=found.value,
        status="unstable" if unstable else "ok",
        reason=unstable,
        interval=interval_of(found) if teacher.evidence == "measured" else None,
        n=found.n,
        **how,
    )


def _axes(config: Measure, batch: int) -> dict[str, str | int]:
    return {"provider": config.provider, "threads": config.threads[0], "batch": batch}


def _missing(
    model: str, axes: Mapping[str, str | int], why: Unavailable, status: Status, config: Measure
) -> Iterator[Measurement]:
    for metric in energy_metrics(config):
        yield missing(model, metric, why.reason, status=status, hint=why.hint or None, axes=axes)


def _without(subjects: Sequence[BenchModel], config: Measure, why: Unavailable, status: Status) -> Findings:
    return Findings(
        tuple(
            m
            for s in subjects
            for batch in outer_batches(s, config)
            for m in _missing(s.id, _axes(config, batch), why, status, config)
        )
    )
