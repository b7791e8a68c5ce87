"""Times relative to the model that all parts of a sweep share, from the blocks in which they took turns.

Parts are measured at different times, between which a machine drifts by several per cent. Their times relative to a
model that all measured side by side do not drift.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kdbench.machine.cores import choose_cores
from kdbench.measure.latency.ratios import ratio, session_plan
from kdbench.recipe import Measure
from kdbench.results.records import Interval, Measurement, RunRecord, measured
from kdbench.results.samples import calls_key
from kdbench.statistics import Clustered

METRIC = "relative_latency"


def relative_latencies(
    record: RunRecord, samples: Mapping[str, Any], reference: str, measure: Measure
) -> Iterator[Measurement]:
    """Yield the latency of each timed model of a part, also of `reference`, relative to `reference`, at its axes.

    Random arrivals are left out: their waiting times depend on chance more than on the model.
    """
    plan = session_plan(choose_cores(measure.cores, measure.threads), measure.sessions)
    for known in record.measurement_index.having("latency_p50_ns"):
        axes = known.axes
        if known.value is None or axes.get("mode") == "server":
            continue
        if known.model == reference:
            yield measured(reference, METRIC, 1.0, axes=axes, interval=Interval(low=1, high=1), source="itself")
            continue
        calls = {(id_, 0): timed for id_ in (reference, known.model) if (timed := _calls(samples, id_, axes))}
        estimate = ratio(calls, reference, known.model, 0, plan)
        if estimate is None:
            continue
        low, high = estimate.low, estimate.high
        interval = None if low is None or high is None else Interval(low=1 / high, high=1 / low)
        source = f"paired blocks with {reference}"
        yield measured(
            known.model, METRIC, 1 / estimate.value, axes=axes, interval=interval, n=estimate.n, source=source
        )


def _calls(samples: Mapping[str, Any], model: str, axes: Mapping[str, str | int]) -> Clustered | None:
    key = calls_key(model, axes)
    if f"{key}/ns" not in samples:
        return None
    preempted = samples.get(f"{key}/preempted")
    return Clustered(
        np.asarray(samples[f"{key}/ns"], dtype=np.float64),
        np.asarray(samples[f"{key}/session"], dtype=np.int64),
        np.asarray(samples[f"{key}/block"], dtype=np.int64),
        None if preempted is None else np.asarray(preempted, dtype=np.int64),
    )
