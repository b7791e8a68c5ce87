"""Sustained load on a device: the first minute, the steady state, and the change between them.

The blocks of the last third are the steady state. Pieces of a phase, a few blocks each, count as sessions: neighbours
among them are alike, for which intervals allow.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics
from kdbench.edge.exchange.phases import (
    AT_S,
    CLOCK_KHZ,
    MEDIAN_NS,
    MIN_BLOCKS,
    MODEL,
    TEMPERATURE_C,
    blocks_of,
    mean,
    phases,
)
from kdbench.edge.results.result import Result
from kdbench.measure.timed import TimedModel, axes_of, students
from kdbench.results.findings import Findings, estimated_across_runs, estimated_pair
from kdbench.results.metrics import metric
from kdbench.results.records import Diagnostic, Measurement, missing
from kdbench.results.samples import FIRST, STEADY
from kdbench.statistics import Clustered, Plan, RunSpread
from kdbench.statistics.few_sessions import RESOLUTION, SHARED_RESOLUTION

_METRIC = "latency_p50_ns"
_PIECES = MIN_BLOCKS // 2
_SLICES = 60  # of the whole time, in the record and its figure
_DRIFT = 0.03  # between the halves of the last third


def sustained_findings(result: Result, models: Sequence[TimedModel]) -> Findings:
    """Return the medians and ratios of both phases, and the course of the whole as facts of the protocol."""
    step = result.content.steps.sustained
    if step is None:
        return Findings()
    blocks = blocks_of(result.content.blocks)

    def axes(model: TimedModel, mode: str) -> dict[str, str | int]:
        return {**axes_of(result.settings, batch=model.fixed_batch or 1), "threads": step.threads, "mode": mode}

    if not models or len(blocks) < 3 * _PIECES * len(models):
        early = "it was too short: sustain it for longer" if step.complete else "it was interrupted too early"
        reason = step.failed or early
        lacking = (missing(m.id, _METRIC, reason, axes=axes(m, mode)) for mode in (FIRST, STEADY) for m in models)
        return Findings(tuple(lacking))
    shared = result.content.device.host.virtualization is not None
    plan = Plan(resolution=SHARED_RESOLUTION if shared else RESOLUTION)
    findings = Findings(protocol={"sustained": _course(blocks, models, step.seconds)})
    for mode, of_phase in phases(blocks).items():
        for number, model in enumerate(models):
            measurement = _median(model, blocks[of_phase & (blocks[:, MODEL] == number)], axes(model, mode), plan)
            findings += Findings((measurement,))
        for teacher, student in students(models):
            t, s = (next(n for n, m in enumerate(models) if m.id == one.id) for one in (teacher, student))
            logs = [np.log(blocks[of_phase & (blocks[:, MODEL] == place), MEDIAN_NS]) for place in (t, s)]
            rounds = min(map(len, logs))
            if rounds >= MIN_BLOCKS and (teacher.fixed_batch or 1) == (student.fixed_batch or 1):
                pieces = np.array_split(logs[0][:rounds] - logs[1][:rounds], _PIECES)
                ratio = statistics.paired_ratio(pieces, plan=plan)
                at = axes(student, mode)
                findings += Findings(pairs=(estimated_pair(teacher.id, student.id, "latency_ratio", ratio, axes=at),))
    if step.failed:
        message = f"the sustained load ended before its time: {step.failed}"
        ended_early = Diagnostic(
            code="sustained_failed", message=message, remedy="measure again: run.py --fresh --sustain 30m"
        )
        findings += Findings(warnings=(ended_early,))
    return findings + Findings(warnings=tuple(_unsteady(blocks, phases(blocks)[STEADY], models)))


def _median(model: TimedModel, blocks: NDArray[np.float64], axes: dict[str, str | int], plan: Plan) -> Measurement:
    """Return the median of the blocks' medians, without a value if there are too few."""
    if len(blocks) < MIN_BLOCKS:
        return missing(model.id, _METRIC, f"only {len(blocks)} blocks of calls: sustain it for longer", axes=axes)
    piece = np.concatenate([np.full(len(p), n) for n, p in enumerate(np.array_split(blocks, _PIECES))])
    data = Clustered(blocks[:, MEDIAN_NS], piece, np.arange(len(blocks)))
    (median,) = statistics.clustered_quantiles(data, (0.5,), plan=plan)
    spread = RunSpread(metric(_METRIC).run_to_run)
    source = f"onnxruntime, {len(blocks)} blocks of calls without a pause, the models taking turns"
    return estimated_across_runs(model.id, _METRIC, median, spread, axes=axes, source=source)


def _course(blocks: NDArray[np.float64], models: Sequence[TimedModel], seconds: float) -> dict[str, Any]:
    """Return the whole load in slices of equal time: temperature, clock, and the median of each model's blocks."""
    end_s = float(blocks[-1, AT_S])
    slices = []
    for number in range(_SLICES):
        inside = (blocks[:, AT_S] >= number * end_s / _SLICES) & (blocks[:, AT_S] < (number + 1) * end_s / _SLICES)
        part = blocks[inside]
        if not len(part):
            continue
        medians_ns = {m.id: part[part[:, MODEL] == n, MEDIAN_NS] for n, m in enumerate(models)}
        times = {id_: float(np.median(values)) for id_, values in medians_ns.items() if len(values)}
        facts = {"temperature_c": mean(part[:, TEMPERATURE_C]), "clock_mhz": mean(part[:, CLOCK_KHZ] / 1e3)}
        known = {name: round(value, 1) for name, value in facts.items() if value is not None}
        slices.append({"from_s": round(number * end_s / _SLICES, 1), **known, "p50_ns": times})
    return {"asked_s": seconds, "lasted_s": round(end_s, 1), "slices": slices}


def _unsteady(
    blocks: NDArray[np.float64], steady: NDArray[np.bool_], models: Sequence[TimedModel]
) -> Iterator[Diagnostic]:
    """Yield which models still became slower or faster in the last third."""
    for number, model in enumerate(models):
        times = blocks[steady & (blocks[:, MODEL] == number), MEDIAN_NS]
        if len(times) < 4:
            continue
        first, last = np.median(times[: len(times) // 2]), np.median(times[len(times) // 2 :])
        if abs(change := float(last / first - 1)) > _DRIFT:
            message = f"in the last third of the sustained load its calls still changed by {100 * change:+.0f} %"
            remedy = "use a longer sustained load: run.py --sustain 1h"
            yield Diagnostic(code="not_steady", message=message, remedy=remedy, model=model.id)
