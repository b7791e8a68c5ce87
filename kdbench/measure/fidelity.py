"""How far a student says what its teacher says: top-1 agreement and predictive KL (Stanton et al. 2021)."""

from collections.abc import Mapping

import numpy as np

from kdbench import statistics
from kdbench.measure.accuracy import Evaluation
from kdbench.measure.protocol import Findings, Subject, interval
from kdbench.records import Pair, Status, measured, missing

FIDELITIES = ("agreement", "predictive_kl")


def fidelity_findings(teacher: Subject, student: Subject, evaluations: Mapping[str, Evaluation]) -> Findings:
    """Return agreement and KL(teacher || student) of one student, and its top-1 drop in points."""
    of_teacher, of_student = evaluations[teacher.id], evaluations[student.id]
    for who, evaluation in ((teacher, of_teacher), (student, of_student)):
        if evaluation.logits is None:
            status = evaluation.status if who is student else "unavailable"
            return without_fidelity(teacher, student, f"{who.card.name}: {evaluation.reason}", status)
    log_t, log_s = of_teacher.log_probabilities(), of_student.log_probabilities()
    if log_t.shape != log_s.shape:
        reason = f"teacher and student tell {log_t.shape[1]} and {log_s.shape[1]} classes apart"
        return without_fidelity(teacher, student, reason, "unavailable")
    same = int((log_t.argmax(axis=1) == log_s.argmax(axis=1)).sum())
    agreement = statistics.binomial_share(same, len(log_t))
    divergence = statistics.mean((np.exp(log_t) * (log_t - log_s)).sum(axis=1))
    measurements = tuple(
        measured(student.id, metric, e.value, interval=interval(e), n=e.n, source=f"against {teacher.id}")
        for metric, e in (("agreement", agreement), ("predictive_kl", divergence))
    )
    return Findings(measurements, (_top1_drop(teacher, student, of_teacher, of_student),))


def without_fidelity(teacher: Subject, student: Subject, reason: str, status: Status) -> Findings:
    """Return agreement, KL and top-1 drop without a number, and the reason."""
    drop = Pair(metric="top1_drop", teacher=teacher.id, student=student.id, value=None, status=status, reason=reason)
    return Findings(tuple(missing(student.id, m, reason, status=status) for m in FIDELITIES), (drop,))


def _top1_drop(teacher: Subject, student: Subject, of_teacher: Evaluation, of_student: Evaluation) -> Pair:
    assert of_teacher.ranks is not None
    assert of_student.ranks is not None
    right_t, right_s = of_teacher.ranks == 0, of_student.ranks == 0
    drop = statistics.paired_share_difference(
        int((right_t & ~right_s).sum()), int((right_s & ~right_t).sum()), len(right_t)
    )
    assert drop.low is not None
    assert drop.high is not None
    points = statistics.Estimate(100 * drop.value, 100 * drop.low, 100 * drop.high, drop.n)
    return Pair(
        metric="top1_drop",
        teacher=teacher.id,
        student=student.id,
        value=points.value,
        interval=interval(points),
        n=points.n,
    )
