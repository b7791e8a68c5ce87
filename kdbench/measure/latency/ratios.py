"""Latency ratios of models that took turns, computed round by round, and the width of the headline intervals.

Imports only numpy, `statistics` and `machine.host`: a device that measures a bundle runs this file too.
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
from kdbench.statistics.clustered import MIN_BLOCKS, MIN_SESSIONS, rarely_preempted, undisturbed
from kdbench.statistics.few_sessions import RESOLUTION, SHARED_RESOLUTION

Key = tuple[str, int]  # a model's id and a configuration's number
Samples = Mapping[Key, Clustered]  # the times of a model's calls


def headline_width(
    models: Sequence[TimedModel], configurations: Sequence[Configuration], samples: Samples, plan: Plan
) -> float:
    """Return the width of the widest 95 % interval of a headline ratio, as a share of it; infinite before two sessions.

    The headline is the first mode at the first thread count, with every batch. Without any ratio, because there is no
    pair or a model failed, the models' median times replace them. Random arrivals have no headline and the width 0,
    because waiting times depend more on chance than on the model.
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
    """Return the plan of sessions that take turns on `cores`, of which `first` always run.

    shared: whether other virtual machines share the sessions' hardware, by default whether this is a virtual machine.
    Their work cannot be observed and slows down a large model more than a small one.
    """
    if shared is None:
        shared = virtualization() is not None
    return Plan(first, len(cores or (None,)), SHARED_RESOLUTION if shared else RESOLUTION)


def ratio(samples: Samples, teacher: str, student: str, number: int, plan: Plan) -> Estimate | None:
    """Return teacher over student of the call times in configuration `number`; None if either has no samples."""
    teacher_calls, student_calls = samples.get((teacher, number)), samples.get((student, number))
    if teacher_calls is None or student_calls is None:
        return None
    return statistics.paired_ratio(log_ratios(teacher_calls, student_calls), plan=plan)


def log_ratios(teacher: Clustered, student: Clustered) -> list[NDArray[np.float64]]:
    """Return the values of `ratios_by_session`, one array per session."""
    return list(ratios_by_session(teacher, student).values())


def ratios_by_session(teacher: Clustered, student: Clustered) -> dict[int, NDArray[np.float64]]:
    """Return the log ratios (teacher over student) of the block medians of a session's rounds, in order, by session.

    Rounds in which a block lost its core are dropped, by the rule of `statistics.undisturbed`.
    """
    all_rounds: dict[int, NDArray[np.float64]] = {}
    undisturbed_rounds: dict[int, NDArray[np.float64]] = {}
    for session in np.unique(teacher.session).tolist():
        (teacher_logs, teacher_kept), (student_logs, student_kept) = (
            _log_medians(data, session) for data in (teacher, student)
        )
        ratios, kept = teacher_logs - student_logs, teacher_kept & student_kept
        all_rounds[session] = ratios
        if kept.sum() >= MIN_BLOCKS:
            undisturbed_rounds[session] = ratios[kept]
    return undisturbed_rounds if len(undisturbed_rounds) >= min(MIN_SESSIONS, len(all_rounds)) else all_rounds


def _log_medians(data: Clustered, session: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the logarithm of the median of each block of a session, and whether the block kept its core."""
    in_session = data.session == session
    shape = data.block[in_session].max() + 1, -1  # blocks are in order and of equal length
    blocks = data.values[in_session].reshape(shape)
    logs = np.asarray(np.log(np.median(blocks, axis=1)))
    if data.preempted is None:
        return logs, np.full(len(logs), True)
    return logs, rarely_preempted(data.preempted[in_session].reshape(shape)[:, 0], blocks.sum(axis=1))
