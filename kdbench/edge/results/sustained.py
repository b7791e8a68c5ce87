"""Sustained load on a device: the first minute beside the steady state, and what happened in between.

The blocks of the last third are the steady state. Pieces of a phase, a few blocks each, count as sessions: neighbours
among them are alike, for which intervals allow.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics
from kdbench.edge.results.result import Result
from kdbench.measure.timed import TimedModel, axes_of, students
from kdbench.results.findings import Findings, estimated_across_runs, estimated_pair
from kdbench.results.metrics import metric
from kdbench.results.records import Diagnostic, Measurement, missing
from kdbench.statistics import Clustered, Plan, RunSpread
from kdbench.statistics.few_sessions import RESOLUTION, SHARED_RESOLUTION

STEADY, FIRST = "sustained", "first-minute"
"""Values of the axis `mode`: the last third of the time, and its first minute (at most a fifth of it)."""

_METRIC = "latency_p50_ns"
_FIRST_S, _FIRST_SHARE = 60.0, 0.2
_PIECES = 6
_SLICES = 8  # of the whole time, in the table
_DRIFT = 0.03  # between the halves of the last third


def sustained_findings(result: Result, models: Sequence[TimedModel]) -> Findings:
    """Return the medians and ratios of both phases, and the course of the whole as facts of the protocol."""
    step = result.content.steps.sustained
    if step is None:
        return Findings()
    blocks = np.array([[np.nan if x is None else x for x in b] for b in result.content.blocks], dtype=np.float64)
    if len(blocks) < 3 * _PIECES * len(models):
        reason = step.failed or "it was interrupted too early"
        axes = {**axes_of(result.settings), "threads": step.threads}
        lacking = (
            missing(m.id, _METRIC, reason, axes={**axes, "mode": mode}) for mode in (FIRST, STEADY) for m in models
        )
        return Findings(tuple(lacking))
    end_s = float(blocks[-1, 0])
    phases = {FIRST: blocks[:, 0] < min(_FIRST_S, _FIRST_SHARE * end_s), STEADY: blocks[:, 0] >= 2 / 3 * end_s}
    shared = result.content.device.host.virtualization is not None
    plan = Plan(resolution=SHARED_RESOLUTION if shared else RESOLUTION)
    findings = Findings(protocol={"sustained": _course(blocks, models, step.seconds)})
    for mode, of_phase in phases.items():
        axes = {**axes_of(result.settings, batch=1), "threads": step.threads, "mode": mode}
        for number, model in enumerate(models):
            at = {**axes, "batch": model.fixed_batch or 1}
            measurement = _median(model, blocks[of_phase & (blocks[:, 1] == number)], at, plan)
            findings += Findings((measurement,))
        for teacher, student in students(models):
            t, s = (next(n for n, m in enumerate(models) if m.id == one.id) for one in (teacher, student))
            logs = [np.log(blocks[of_phase & (blocks[:, 1] == place), 3]) for place in (t, s)]
            rounds = min(map(len, logs))
            if rounds >= 2 * _PIECES and (teacher.fixed_batch or 1) == (student.fixed_batch or 1):
                pieces = np.array_split(logs[0][:rounds] - logs[1][:rounds], _PIECES)
                ratio = statistics.paired_ratio(pieces, plan=plan)
                at = {**axes, "batch": student.fixed_batch or 1}
                findings += Findings(pairs=(estimated_pair(teacher.id, student.id, "latency_ratio", ratio, axes=at),))
    return findings + Findings(warnings=tuple(_unsteady(blocks, phases[STEADY], models)))


def _median(model: TimedModel, blocks: NDArray[np.float64], axes: dict[str, str | int], plan: Plan) -> Measurement:
    """Return the median of the blocks' medians, without a value of too few."""
    if len(blocks) < 2 * _PIECES:
        return missing(model.id, _METRIC, f"only {len(blocks)} blocks of calls: sustain it for longer", axes=axes)
    piece = np.concatenate([np.full(len(p), n) for n, p in enumerate(np.array_split(blocks, _PIECES))])
    data = Clustered(blocks[:, 3], piece, np.arange(len(blocks)))
    (median,) = statistics.clustered_quantiles(data, (0.5,), plan=plan)
    spread = RunSpread(metric(_METRIC).run_to_run)
    source = f"onnxruntime, {len(blocks)} blocks of calls without a pause, the models taking turns"
    return estimated_across_runs(model.id, _METRIC, median, spread, axes=axes, source=source)


def _course(blocks: NDArray[np.float64], models: Sequence[TimedModel], seconds: float) -> dict[str, Any]:
    """Return the whole in slices of equal time: temperature, clock, and the median of each model's blocks."""
    end_s = float(blocks[-1, 0])
    slices = []
    for number in range(_SLICES):
        inside = (blocks[:, 0] >= number * end_s / _SLICES) & (blocks[:, 0] < (number + 1) * end_s / _SLICES)
        part = blocks[inside]
        if not len(part):
            continue
        times = {
            m.id: float(np.median(part[part[:, 1] == n, 3])) for n, m in enumerate(models) if (part[:, 1] == n).any()
        }
        facts = {"temperature_c": _mean(part[:, 6]), "clock_mhz": _mean(part[:, 7] / 1e3)}
        known = {name: value for name, value in facts.items() if value is not None}
        slices.append({"from_s": round(number * end_s / _SLICES, 1), **known, "p50_ns": times})
    return {"asked_s": seconds, "lasted_s": round(end_s, 1), "slices": slices}


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return round(float(known.mean()), 1) if len(known) else None


def _unsteady(
    blocks: NDArray[np.float64], steady: NDArray[np.bool_], models: Sequence[TimedModel]
) -> Iterator[Diagnostic]:
    """Yield which models still became slower or faster in the last third."""
    for number, model in enumerate(models):
        times = blocks[steady & (blocks[:, 1] == number), 3]
        if len(times) < 4:
            continue
        first, last = np.median(times[: len(times) // 2]), np.median(times[len(times) // 2 :])
        if abs(change := float(last / first - 1)) > _DRIFT:
            message = f"in the last third of the sustained load its calls still changed by {100 * change:+.0f} %"
            remedy = "sustain it for longer: run.py --sustain 1h"
            yield Diagnostic(code="not_steady", message=message, remedy=remedy, model=model.id)
