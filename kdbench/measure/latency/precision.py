"""The precision of the headline numbers so far, which decides whether another session follows."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics
from kdbench.machine.fingerprint import virtualization
from kdbench.measure.bench_model import BenchModel, students
from kdbench.measure.latency.configurations import Configuration
from kdbench.recipe.measure import Measure
from kdbench.results.records import Diagnostic
from kdbench.statistics import Clustered, Estimate, Plan
from kdbench.statistics.few_sessions import RESOLUTION, SHARED_RESOLUTION

Samples = Mapping[tuple[str, int], Clustered]
"""The times of a model's calls, by its id and the configuration's number."""


def headline_width(
    models: Sequence[BenchModel], configurations: Sequence[Configuration], samples: Samples, plan: Plan
) -> float:
    """Return the widest 95 % interval among the headline ratios, as a share of each; infinite before two sessions.

    The headline is the first mode at the first thread count, every batch. Without a ratio, because there is no pair or
    a model failed, the models' median times take its place. Random arrivals have no headline and give 0: a wait depends
    on chance more than on the model.
    """
    usual = configurations[0]
    headline = [n for n, c in enumerate(configurations) if (c.mode, c.threads) == (usual.mode, usual.threads)]
    steady = [number for number in headline if usual.mode != "server"]
    pairs = students(models)
    estimates = [
        e for number in steady for t, s in pairs if (e := ratio(samples, t.id, s.id, number, plan)) is not None
    ]
    if not estimates:
        times = [data for (_, number), data in samples.items() if number in steady]
        estimates = [e for data in times for e in statistics.clustered_quantiles(data, (0.5,), plan=plan)]
    return max(map(statistics.relative_width, estimates), default=0.0)


def session_plan(cores: Sequence[int] | None, first: int | None = None) -> Plan:
    """Return the plan of sessions that take turns on `cores`; the `first` of these always run.

    A guest does not see the work of its neighbours, which slows a large model down more than a small one.
    """
    resolution = RESOLUTION if virtualization() is None else SHARED_RESOLUTION
    return Plan(first, len(cores or (None,)), resolution)


def imprecision(width: float, config: Measure, plan: Plan) -> tuple[Diagnostic, ...]:
    """Return a warning if the budget ended before every headline interval was as narrow as requested."""
    if width <= config.precision:
        return ()
    widths = f"were up to {100 * width:.1f} % wide" if np.isfinite(width) else "were unknown"
    spent = f"when the budget of {config.budget_s:g} s was spent, intervals {widths}"
    message = f"{spent}; {100 * config.precision:g} % was requested"
    remedy = f"measure on a machine of its own: here no interval is below {100 * plan.least_width:.1f} %"
    if plan.least_width <= config.precision:
        remedy = "give it a longer --budget, or measure when the machine is otherwise idle"
    return (Diagnostic(code="precision_missed", message=message, remedy=remedy),)


def ratio(samples: Samples, teacher: str, student: str, number: int, plan: Plan) -> Estimate | None:
    """Return how much longer the teacher's calls take in configuration `number`; None if either has no samples."""
    both = samples.get((teacher, number)), samples.get((student, number))
    if both[0] is None or both[1] is None:
        return None
    return statistics.paired_ratio(log_ratios(both[0], both[1]), plan=plan)


def log_ratios(teacher: Clustered, student: Clustered) -> list[NDArray[np.float64]]:
    """Return, for each session, the log ratio of the block medians of every round."""
    sessions = np.unique(teacher.session)
    return [_log_medians(teacher, s) - _log_medians(student, s) for s in sessions]


def _log_medians(data: Clustered, session: int) -> NDArray[np.float64]:
    chosen = data.session == session
    values, blocks = data.values[chosen], data.block[chosen]
    # Blocks are in order and of equal length.
    medians: NDArray[np.float64] = np.log(np.median(values.reshape(blocks.max() + 1, -1), axis=1))
    return medians
