"""Energy per inference, from the windows that the energy probe took."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics
from kdbench.measure.energy import Available, Found, sources
from kdbench.measure.jobs import JobModel
from kdbench.measure.machine.core_choice import chosen_cores, of_turn
from kdbench.measure.process import WorkerError, run_job
from kdbench.measure.protocol import Findings, Portion, Protocol, Subject, interval, students
from kdbench.records import Evidence, Measurement, Pair, Status, measured, missing

ROUNDS = 5
_IDLE_DRIFT = 0.05
_METRICS = ("energy_j", "energy_net_j")


@dataclass(frozen=True)
class Windows:
    """The windows of one model, one a round: joules, seconds and calls; and the idle power around them all.

    `period_s` is the counter's update period, `idle_w` the mean idle power before and after, `idle_drift` how far
    the two are apart, as a share of it.
    """

    energy_j: NDArray[np.float64]
    duration_s: NDArray[np.float64]
    calls: NDArray[np.float64]
    period_s: float
    idle_w: float
    idle_drift: float


def energy_findings(
    subjects: Sequence[Subject],
    models: Mapping[str, JobModel],
    protocol: Protocol,
    folder: Path,
    progress: Portion,
) -> Findings:
    """Return gross and net energy per inference of each subject at its smallest batch, and students' ratios.

    Where no source counts the provider's work every value is unavailable, with the source's reason.
    """
    if not protocol.energy:
        return _without(subjects, protocol, "energy was not asked for", "", "unavailable")
    found = sources(protocol.provider)
    usable = next((each for each in found if isinstance(each.state, Available)), None)
    if usable is None:
        reasons = [each.state for each in found if not isinstance(each.state, Available)]
        reason = "; ".join(each.reason for each in reasons) or f"no energy source counts {protocol.provider!r}"
        return _without(subjects, protocol, reason, "; ".join(each.hint for each in reasons), "unavailable")
    job = {
        "probe": "energy",
        "models": [models[s.id].to_json() for s in subjects],
        "provider": protocol.provider,
        "threads": protocol.threads[0],
        "source": usable.counter.name,
        "rounds": ROUNDS,
    }
    cores = of_turn(chosen_cores(protocol.cores, protocol.threads), protocol.threads[0], 0)
    try:
        result = run_job(job, folder, progress, threads=protocol.threads[0], cores=cores)
    except WorkerError as error:
        return _without(subjects, protocol, error.message, error.hint, "error")
    return _findings(subjects, result, usable, protocol)


def _findings(subjects: Sequence[Subject], result: Mapping[str, Any], usable: Found, protocol: Protocol) -> Findings:
    windows = {id_: _windows(taken, result) for id_, taken in result["windows"].items()}
    measurements: list[Measurement] = []
    for s in subjects:
        axes = _axes(s, protocol)
        if s.id in windows:
            source = f"{usable.counter.name}, {usable.counter.scope}"
            batch = s.facts.fixed_batch or 1
            measurements += per_inference(
                s.id, windows[s.id], axes, source, batch=batch, evidence=usable.counter.evidence
            )
        else:
            measurements += [missing(s.id, m, result["errors"][s.id], status="error", axes=axes) for m in _METRICS]
    pairs = tuple(
        _ratio(teacher, student, windows, _axes(student, protocol))
        for teacher, student in students(subjects)
        if teacher.id in windows and student.id in windows
    )
    return Findings(tuple(measurements), pairs)


def per_inference(
    model: str,
    windows: Windows,
    axes: Mapping[str, str | int],
    source: str,
    *,
    batch: int = 1,
    evidence: Evidence = "measured",
) -> list[Measurement]:
    """Return gross and net energy per inference, the medians of the windows; `evidence` is the source's.

    The uncertainty holds the spread between windows and the counter's steps (one period of the power, evenly
    distributed); net energy, in addition, half the change of the idle power. Net below twice its standard
    uncertainty is not told apart from none.
    """
    inferences = windows.calls * batch
    gross = windows.energy_j / inferences
    idle = windows.idle_w * windows.duration_s / inferences
    step = float(np.median(windows.energy_j / windows.duration_s * windows.period_s / math.sqrt(3) / inferences))
    drift = windows.idle_drift / 2 * float(np.median(idle))
    found = [_measurement(model, "energy_j", gross, step, axes, source, evidence, None)]
    unstable = f"idle power changed by {100 * windows.idle_drift:.0f} %" if windows.idle_drift > _IDLE_DRIFT else None
    net = gross - idle
    resolution = 2 * math.hypot(_standard_error(net), step, drift)
    if float(np.median(net)) < resolution:
        reason = f"net energy is below twice its uncertainty, {resolution:.2g} J"
        found.append(missing(model, "energy_net_j", reason, status="below_resolution", axes=axes, source=source))
    else:
        found.append(
            _measurement(model, "energy_net_j", net, math.hypot(step, drift), axes, source, evidence, unstable)
        )
    return found


def _measurement(
    model: str,
    metric: str,
    values: NDArray[np.float64],
    systematic: float,
    axes: Mapping[str, str | int],
    source: str,
    evidence: Evidence,
    unstable: str | None,
) -> Measurement:
    centre = float(np.median(values))
    spread = statistics.mean(values)
    assert spread.high is not None
    half = math.hypot(spread.high - spread.value, 2 * systematic)
    estimate = statistics.Estimate(centre, centre - half, centre + half, len(values))
    return measured(
        model,
        metric,
        centre,
        axes=axes,
        interval=interval(estimate),
        n=len(values),
        source=source,
        evidence=evidence,
        unstable=unstable,
    )


def _standard_error(values: NDArray[np.float64]) -> float:
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))


def _windows(taken: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> Windows:
    before, after = (idle["energy_j"] / (idle["duration_ns"] / 1e9) for idle in result["idle"])
    mean = (before + after) / 2
    return Windows(
        energy_j=np.array([w["energy_j"] for w in taken]),
        duration_s=np.array([w["duration_ns"] / 1e9 for w in taken]),
        calls=np.array([w["calls"] for w in taken], dtype=np.float64),
        period_s=result["period_ns"] / 1e9,
        idle_w=mean,
        idle_drift=abs(after - before) / mean if mean else 0.0,
    )


def _ratio(teacher: Subject, student: Subject, windows: Mapping[str, Windows], axes: Mapping[str, str | int]) -> Pair:
    """Return teacher over student of gross energy per inference, from the windows of the same rounds."""
    per_t, per_s = (
        windows[who.id].energy_j / (windows[who.id].calls * (who.facts.fixed_batch or 1)) for who in (teacher, student)
    )
    ratio = statistics.paired_ratio([np.array([each]) for each in np.log(per_t / per_s)])
    return Pair(
        metric="energy_ratio",
        teacher=teacher.id,
        student=student.id,
        axes=dict(axes),
        value=ratio.value,
        interval=interval(ratio),
        n=ratio.n,
    )


def _axes(subject: Subject, protocol: Protocol) -> dict[str, str | int]:
    batch = subject.facts.fixed_batch or 1
    return {"provider": protocol.provider, "threads": protocol.threads[0], "batch": batch}


def _without(subjects: Sequence[Subject], protocol: Protocol, reason: str, hint: str, status: Status) -> Findings:
    return Findings(
        tuple(
            missing(s.id, m, reason, status=status, hint=hint or None, axes=_axes(s, protocol))
            for s in subjects
            for m in _METRICS
        )
    )
