"""What the person at the device sees at the end: parity, latencies and speed-ups, in a few lines."""

from __future__ import annotations

from collections.abc import Iterator

from kdbench import statistics, units
from kdbench.edge.device.measuring import Measurement
from kdbench.edge.device.store import SessionStore
from kdbench.measure.latency.ratios import ratio
from kdbench.measure.latency.sessions import Collected, Sampled
from kdbench.measure.timed import SEED, students
from kdbench.statistics import Estimate


def summary(m: Measurement) -> Iterator[str]:
    """Yield the lines of what is measured so far."""
    for id_, outcome in (m.store.read("parity") or {}).items():
        equal = f"as on the host (largest difference {outcome['max_abs']:.2g}, {outcome['changed']} other answers)"
        yield f"{id_}: {'NOT ' + equal[:15] + ': ' + outcome['failed'] if outcome['failed'] else equal}"
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
            yield f"{names[id_]}, {where}: p50 {_time(median)}"
        for teacher, student in students(m.timed):
            speedup = ratio(sampled.samples, teacher.id, student.id, number, sampled.plan)
            if speedup is not None:
                low, high = ("?" if x is None else units.ratio(x) for x in (speedup.low, speedup.high))
                yield f"{student.name} over {teacher.name}, {where}: {units.ratio(speedup.value)} [{low}, {high}]"


def sampled_of(m: Measurement) -> Sampled | None:
    """Return the samples of the sessions in the store; None before two of them."""
    collected = Collected(m.timed, m.config)
    spent_s = 0.0
    for session in SessionStore(m.store, []).stored():
        collected.add(session)
        spent_s += session.seconds
    return collected.sampled(spent_s, m.runner.cores) if collected.sessions > 1 else None


def _time(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return units.time(estimate.value)
    return f"{units.time(estimate.value)} [{units.time(estimate.low)}, {units.time(estimate.high)}]"
