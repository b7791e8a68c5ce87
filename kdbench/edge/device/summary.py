"""What the person at the device sees at the end: parity, latencies, speed-ups and sustained load, in a few lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics, units
from kdbench.edge.device.measuring import STEPS, Measurement
from kdbench.edge.device.store import SessionStore, read_lines
from kdbench.edge.exchange.phases import (
    AT_S,
    CLOCK_KHZ,
    MEDIAN_NS,
    MIN_BLOCKS,
    MODEL,
    TEMPERATURE_C,
    blocks_of,
    first_s,
    mean,
    phases,
)
from kdbench.measure.latency.ratios import ratio
from kdbench.measure.latency.sessions import Collector, SessionSamples
from kdbench.measure.timed import SEED, students
from kdbench.statistics import Estimate


def summary(m: Measurement, *, by_hand: bool = True) -> Iterator[str]:
    """Yield the lines of what is measured so far; `by_hand` says that a user started run.py, who can repeat steps."""
    for id_, outcome in (m.store.read("parity") or {}).items():
        if outcome["failed"]:
            yield f"{id_}: NOT as on the host: {outcome['failed']}"
        else:
            comparison = f"largest difference {outcome['max_abs']:.2g}, {outcome['changed']} other answers"
            yield f"{id_}: as on the host ({comparison})"
    yield from _latencies(m)
    yield from sustained_lines(m)
    if failed := [name.replace("_", " ") for name in STEPS if _has_failed(m.store.read(name))]:
        again = "; with --fresh the command measures all steps again" if by_hand else ""
        yield f"failed, at least in part: {', '.join(failed)}{again}"


def _has_failed(result: object) -> bool:
    """Return whether a step's result, or a part of it, has a reason why it failed."""
    if isinstance(result, dict):
        return bool(result.get("failed")) or any(map(_has_failed, result.values()))
    return isinstance(result, list) and any(map(_has_failed, result))


def _latencies(m: Measurement) -> Iterator[str]:
    sampled = sampled_of(m)
    if sampled is None:
        return
    names = {model.id: model.name for model in m.timed}
    for number, configuration in enumerate(sampled.configurations):
        where = f"batch {configuration.batch}, {units.threads(configuration.threads)}"
        for id_ in (id_ for id_ in names if (id_, number) in sampled.samples):
            (median,) = statistics.clustered_quantiles(
                sampled.undisturbed((id_, number)), (0.5,), seed=SEED, plan=sampled.plan
            )
            yield f"{names[id_]}, {where}: p50 {_with_interval(units.time, median)}"
        for teacher, student in students(m.timed):
            speedup = ratio(sampled.samples, teacher.id, student.id, number, sampled.plan)
            if speedup is not None:
                shown = _with_interval(units.ratio, speedup)
                yield f"{student.name} over {teacher.name}, {where}: {shown}"


def sustained_lines(m: Measurement) -> Iterator[str]:
    """Yield the first minute of a sustained load beside its last third, with temperature and clock where known."""
    load = m.store.read("sustaining")
    if load is None:
        return
    if failed := (m.store.read("sustained") or {}).get("failed"):
        yield f"sustained load: {failed}"
    if not load["ids"]:  # no model was timed
        return
    blocks = blocks_of(read_lines(m.store.sustained))
    medians = {id_: _medians(blocks, number) for number, id_ in enumerate(load["ids"])}
    if not all(medians.values()):
        yield f"sustained load: {len(blocks)} blocks of calls, too few for numbers"
        return
    lasted_s = float(blocks[-1, AT_S])
    at = f"{units.duration(lasted_s)}, {units.threads(load['threads'])}"
    yield f"sustained load, {at}: its first {units.duration(first_s(lasted_s))} → its last third"
    names = {model.id: model.name for model in m.timed}
    for id_, (first, last) in ((id_, pair) for id_, pair in medians.items() if pair is not None):
        yield f"  {names[id_]}: p50 {units.time(first)} → {units.time(last)} ({units.change(last / first)})"
    for column, unit, scale in ((TEMPERATURE_C, "°C", 1.0), (CLOCK_KHZ, "MHz", 1e-3)):
        means = [mean(blocks[inside, column]) for inside in phases(blocks).values()]
        shown = [f"{value * scale:,.0f} {unit}" for value in means if value is not None]
        if len(shown) == len(means):
            yield f"  {' → '.join(shown)}"


def _medians(blocks: NDArray[np.float64], number: int) -> tuple[float, float] | None:
    """Return medians in ns of a model's blocks, of the first phase and the last; None where one has too few blocks."""
    if not len(blocks):
        return None
    is_model = blocks[:, MODEL] == number
    first, last = (blocks[is_model & inside, MEDIAN_NS] for inside in phases(blocks).values())
    return (float(np.median(first)), float(np.median(last))) if min(len(first), len(last)) >= MIN_BLOCKS else None


def sampled_of(m: Measurement) -> SessionSamples | None:
    """Return the samples of the sessions in the store; None before two of them."""
    collected = Collector(m.timed, m.config)
    spent_s = 0.0
    for session in SessionStore(m.store, []).stored():
        collected.add(session)
        spent_s += session.seconds
    return collected.sampled(spent_s, m.runner.cores) if collected.sessions > 1 else None


def _with_interval(write: Callable[[float], str], estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return write(estimate.value)
    low, high = (units.bound(write, end, estimate.value) for end in (estimate.low, estimate.high))
    return f"{write(estimate.value)} [{low}, {high}]"
