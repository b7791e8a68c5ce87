"""Ratios of models that took turns, from their rounds, and how wide the headline's intervals are. Pure functions.

numpy and `statistics` alone: a device that measures a bundle runs this file too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics
from kdbench.machine.host import virtualization
from kdbench.measure.latency.configurations import Configuration
from kdbench.measure.timed import TimedModel, students
from kdbench.statistics import Clustered, Estimate, Plan
from kdbench.statistics.clustered import MIN_BLOCKS, MIN_SESSIONS, kept_core, undisturbed
from kdbench.statistics.few_sessions import RESOLUTION, SHARED_RESOLUTION

Key = tuple[str, int]  # a model's id and a configuration's number
Samples = Mapping[Key, Clustered]  # the times of a model's calls


def headline_width(
    models: Sequence[TimedModel], configurations: Sequence[Configuration], samples: Samples, plan: Plan
) -> float:
    """Return the widest 95 % interval among the headline ratios, as a share of each; infinite before two sessions.

    The headline is the first mode at the first thread count, every batch. Without a ratio, because there is no pair or
    a model failed, the models' median times take its place. Random arrivals have no headline and give 0: a wait depends
    on chance more than on the model.
    """
    first = configurations[0]
    headline = [c for c in configurations if (c.mode, c.threads) == (first.mode, first.threads)]
    steady = [c.number for c in headline if c.mode != "server"]
    pairs = students(models)
    estimates = [
        e for number in steady for t, s in pairs if (e := ratio(samples, t.id, s.id, number, plan)) is not None
    ]
    if not estimates:
        times = [data for (_, number), data in samples.items() if number in steady]
        estimates = [e for data in times for e in statistics.clustered_quantiles(undisturbed(data), (0.5,), plan=plan)]
    return max(map(statistics.relative_width, estimates), default=0.0)


def session_plan(cores: Sequence[int] | None, first: int | None = None, *, shared: bool | None = None) -> Plan:
    """Return the plan of sessions that take turns on `cores`; the `first` of these always run.

    A guest does not see the work of its neighbours, which slows a large model down more than a small one: `shared`
    says whether the sessions' machine is one, by default this one.
    """
    guest = virtualization() is not None if shared is None else shared
    return Plan(first, len(cores or (None,)), SHARED_RESOLUTION if guest else RESOLUTION)


def ratio(samples: Samples, teacher: str, student: str, number: int, plan: Plan) -> Estimate | None:
    """Return how much longer the teacher's calls take in configuration `number`; None if either has no samples."""
    both = samples.get((teacher, number)), samples.get((student, number))
    if both[0] is None or both[1] is None:
        return None
    return statistics.paired_ratio(log_ratios(both[0], both[1]), plan=plan)


def log_ratios(teacher: Clustered, student: Clustered) -> list[NDArray[np.float64]]:
    """Return the log ratio of the block medians of every round, one array a session, as `ratios_by_session`."""
    return list(ratios_by_session(teacher, student).values())


def ratios_by_session(teacher: Clustered, student: Clustered) -> dict[int, NDArray[np.float64]]:
    """Return the log ratio of the block medians of every round by session, in order.

    Rounds in which a block lost its core are left out, by the rule of `statistics.undisturbed`.
    """
    in_order: dict[int, tuple[NDArray[np.float64], NDArray[np.bool_]]] = {}
    for session in np.unique(teacher.session).tolist():
        (t_logs, t_kept), (s_logs, s_kept) = (_log_medians(data, session) for data in (teacher, student))
        in_order[session] = t_logs - s_logs, t_kept & s_kept
    kept = {session: ratios[both] for session, (ratios, both) in in_order.items() if both.sum() >= MIN_BLOCKS}
    enough = len(kept) >= min(MIN_SESSIONS, len(in_order))
    return kept if enough else {session: ratios for session, (ratios, _) in in_order.items()}


def _log_medians(data: Clustered, session: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the logarithm of the median of each block of a session, and whether it kept its core."""
    chosen = data.session == session
    shape = data.block[chosen].max() + 1, -1  # blocks are in order and of equal length
    blocks = data.values[chosen].reshape(shape)
    logs = np.asarray(np.log(np.median(blocks, axis=1)))
    if data.preempted is None:
        return logs, np.full(len(logs), True)
    return logs, kept_core(data.preempted[chosen].reshape(shape)[:, 0], blocks.sum(axis=1))
