"""The energy pass: sources chosen, windows taken in a process of its own, and what they say of each model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.measure.energy.account import QUICK_RESOLUTION, Account, Meter, Value, accounts, gross, net, ratio
from kdbench.measure.energy.carbon import CarbonIntensity, carbon_intensity, emission
from kdbench.measure.energy.choice import Choice, choose
from kdbench.measure.energy.source import Available, Found, Unavailable
from kdbench.measure.jobs import JobModel
from kdbench.measure.machine.core_choice import chosen_cores, of_turn
from kdbench.measure.process import WorkerError, run_job
from kdbench.measure.protocol import (
    Findings,
    Portion,
    Protocol,
    Subject,
    energy_metrics,
    interval,
    outer_batches,
    students,
)
from kdbench.records import Interval, Measurement, Pair, Status, measured, missing

_Run = tuple[str, int]  # a subject's id and a batch


@dataclass(frozen=True)
class Mode:
    """How thoroughly windows are taken: how many, how long at least, over how many updates of the counter."""

    rounds: int
    least_s: float
    least_updates: int
    settle_s: float
    resolution: float


MODES = {
    "quick": Mode(rounds=5, least_s=0.5, least_updates=20, settle_s=0.1, resolution=QUICK_RESOLUTION),
    # The shape of MLPerf Tiny's energy runs: five windows of ten seconds, and their median.
    "full": Mode(rounds=5, least_s=10.0, least_updates=100, settle_s=1.0, resolution=0.0),
}


@dataclass(frozen=True)
class Taken:
    """What the pass found out: the account of each meter in each run, or why a run has none, and the raw windows."""

    accounts: Mapping[_Run, Sequence[Account]] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    samples: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def sources_for(protocol: Protocol) -> Choice:
    """Return the sources that the protocol's provider and wishes come to on this machine."""
    if protocol.energy == "off":
        return Choice(Unavailable("energy was not asked for"))
    return choose(protocol.provider, estimate=protocol.estimate_energy)


def expected_s(subjects: Sequence[Subject], protocol: Protocol, choice: Choice) -> float:
    """Return about how many seconds the pass will take."""
    if isinstance(choice.leading, Unavailable):
        return 0.0
    mode = MODES[protocol.energy]
    lag_s = max(each.counter.lag_s for each in choice.used)
    length_s = max(mode.least_s, mode.least_updates * choice.used[0].counter.lag_s)
    windows = len(_runs(subjects, protocol)) * mode.rounds + mode.rounds + 1
    return windows * (length_s + mode.settle_s + lag_s)


def energy_findings(
    subjects: Sequence[Subject],
    models: Mapping[str, JobModel],
    protocol: Protocol,
    choice: Choice,
    folder: Path,
    progress: Portion,
) -> Findings:
    """Return energy per inference and per run of each subject, at batch 1 and at the largest, and students' ratios.

    `choice` is that of `sources_for`; where nothing counts the part that runs the models every value is unavailable,
    with the reason.
    """
    intensity = carbon_intensity(protocol.country) if protocol.country else None
    found = Findings(protocol={"carbon": intensity.to_json()} if intensity else {})
    if isinstance(choice.leading, Unavailable):
        return found + _without(subjects, protocol, choice.leading, "unavailable")
    runs = _runs(subjects, protocol)
    try:
        result = run_job(
            _job(models, runs, choice, protocol),
            folder,
            progress,
            threads=protocol.threads[0],
            cores=of_turn(chosen_cores(protocol.cores, protocol.threads), protocol.threads[0], 0),
        )
    except WorkerError as error:
        return found + _without(subjects, protocol, Unavailable(error.message, error.hint), "error")
    if result["fault"]:
        why = Unavailable(result["fault"], "run kdbench doctor, and measure again")
        return found + _without(subjects, protocol, why, "error")
    taken = _taken(runs, result, choice, protocol)
    return found + Findings(
        measurements=tuple(m for s in subjects for m in _of_subject(s, taken, protocol, intensity)),
        pairs=tuple(p for t, s in students(subjects) for p in _ratios(t, s, taken, protocol)),
        samples=dict(taken.samples),
        protocol={"energy_pass": dict(taken.facts)},
    )


def _runs(subjects: Sequence[Subject], protocol: Protocol) -> list[_Run]:
    return [(s.id, batch) for s in subjects for batch in outer_batches(s, protocol)]


def _job(models: Mapping[str, JobModel], runs: Sequence[_Run], choice: Choice, protocol: Protocol) -> dict[str, Any]:
    mode = MODES[protocol.energy]
    estimated = choice.used[0].counter.evidence != "measured"  # then it is asked at will, and has no steps
    return {
        "probe": "energy",
        "models": [models[id_].to_json() for id_ in dict.fromkeys(id_ for id_, _ in runs)],
        "provider": protocol.provider,
        "threads": protocol.threads[0],
        "runs": runs,
        "sources": [each.counter.name for each in choice.used],
        "rounds": mode.rounds,
        "least_ns": mode.least_s * 1e9,
        "least_updates": 0 if estimated else mode.least_updates,
        "settle_ns": mode.settle_s * 1e9,
    }


def _taken(runs: Sequence[_Run], result: Mapping[str, Any], choice: Choice, protocol: Protocol) -> Taken:
    held_out = [each for each in choice.used if each.counter.name in result["sources"]]
    uncounted = [*(each.reason for each in choice.uncounted), *result["dropped"].values()]
    meters = [_meter(number, each, result) for number, each in enumerate(held_out)]
    mode = MODES[protocol.energy]
    by_run = {run: windows for run, windows in zip(runs, result["windows"], strict=True) if windows}
    samples: dict[str, NDArray[np.generic]] = {}
    for (id_, batch), windows in by_run.items():
        key = f"{id_}/{protocol.provider}-t{protocol.threads[0]}-b{batch}-energy"
        samples[f"{key}/calls"] = np.array([w["calls"] for w in windows], dtype=np.int64)
        for number, meter in enumerate(meters):
            samples[f"{key}/{meter.name}-j"] = np.array([w["spans"][number][0] for w in windows], dtype=np.float64)
            samples[f"{key}/{meter.name}-ns"] = np.array([w["spans"][number][1] for w in windows], dtype=np.int64)
    return Taken(
        accounts={run: accounts(windows, meters, resolution=mode.resolution) for run, windows in by_run.items()},
        failed=result["errors"],
        samples=samples,
        facts={
            "mode": protocol.energy,
            "windows": mode.rounds,
            "window_s": round(result["length_ns"] / 1e9, 3),
            "resolution": mode.resolution,
            "sources": [_facts(each, meter) for each, meter in zip(held_out, meters, strict=True)],
            **({"uncounted": uncounted} if uncounted else {}),
        },
    )


def _meter(number: int, found: Found, result: Mapping[str, Any]) -> Meter:
    idle = [window["spans"][number] for window in result["idle"]]
    return Meter(
        name=found.counter.name,
        scope=found.counter.scope,
        evidence=found.counter.evidence,
        period_s=result["period_ns"][number] / 1e9,
        idle_w=np.array([joules / (duration_ns / 1e9) for joules, duration_ns in idle]),
        idle_s=min(duration_ns for _, duration_ns in idle) / 1e9,
    )


def _facts(found: Found, meter: Meter) -> dict[str, Any]:
    assert isinstance(found.state, Available)
    return {
        "name": meter.name,
        "scope": meter.scope,
        "detail": found.state.detail,
        "evidence": meter.evidence,
        **(_of_the_meter(meter) if meter.evidence == "measured" else {}),
    }


def _of_the_meter(meter: Meter) -> dict[str, Any]:
    return {
        "update_period_ms": round(1e3 * meter.period_s, 3),
        "idle_w": [round(float(each), 4) for each in meter.idle_w],
    }


def _of_subject(
    subject: Subject, taken: Taken, protocol: Protocol, intensity: CarbonIntensity | None
) -> Iterator[Measurement]:
    """Yield what each scope says of each run: the leading one's without saying its scope, then all with it."""
    for batch in outer_batches(subject, protocol):
        axes = _axes(protocol, batch)
        if (subject.id, batch) not in taken.accounts:
            yield from _missing(subject.id, axes, Unavailable(taken.failed[subject.id]), "error", protocol)
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


def _ratios(teacher: Subject, student: Subject, taken: Taken, protocol: Protocol) -> Iterator[Pair]:
    """Yield teacher over student of the leading scope's gross energy per inference, at each batch of the student."""
    for batch in outer_batches(student, protocol):
        both = {"teacher": teacher.id, "student": student.id, "axes": _axes(protocol, batch)}
        runs = [(teacher.id, batch), (student.id, batch)]
        lacking = next(((id_, batch) for id_, batch in runs if (id_, batch) not in taken.accounts), None)
        if lacking is not None:
            why = taken.failed.get(lacking[0], f"not run at batch {batch}")
            reason = f"{lacking[0]}: {why}"
            yield Pair(metric="energy_ratio", value=None, status="unavailable", reason=reason, **both)
            continue
        first, second = (taken.accounts[run][0] for run in runs)
        if not (gross(first).resolved and gross(second).resolved):
            reason = "an energy is within its uncertainty of 0"
            yield Pair(
                metric="energy_ratio",
                value=None,
                status="below_resolution",
                reason=reason,
                evidence=first.evidence,
                **both,
            )
            continue
        found = ratio(first, second)
        both_gross = {teacher.id: gross(first), student.id: gross(second)}
        unstable = next((f"{id_}: {value.unstable}" for id_, value in both_gross.items() if value.unstable), None)
        yield Pair(
            metric="energy_ratio",
            value=found.value,
            status="unstable" if unstable else "ok",
            reason=unstable,
            interval=interval(found) if first.evidence == "measured" else None,
            n=found.n,
            evidence=first.evidence,
            **both,
        )


def _axes(protocol: Protocol, batch: int) -> dict[str, str | int]:
    return {"provider": protocol.provider, "threads": protocol.threads[0], "batch": batch}


def _missing(
    model: str, axes: Mapping[str, str | int], why: Unavailable, status: Status, protocol: Protocol
) -> Iterator[Measurement]:
    for metric in energy_metrics(protocol):
        yield missing(model, metric, why.reason, status=status, hint=why.hint or None, axes=axes)


def _without(subjects: Sequence[Subject], protocol: Protocol, why: Unavailable, status: Status) -> Findings:
    return Findings(
        tuple(
            m
            for s in subjects
            for batch in outer_batches(s, protocol)
            for m in _missing(s.id, _axes(protocol, batch), why, status, protocol)
        )
    )
