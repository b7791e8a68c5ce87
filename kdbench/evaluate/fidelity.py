"""How far a student says what its teacher says: agreement, divergence (Stanton et al. 2021), order of the classes."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from kdbench import statistics
from kdbench.evaluate.accuracy import Evaluation
from kdbench.evaluate.divergence import kl_divergences
from kdbench.evaluate.rank_correlation import spearman
from kdbench.evaluate.standardization import Std, standardized_kl
from kdbench.measure.bench_model import BenchModel
from kdbench.results.findings import Findings, interval_of
from kdbench.results.metrics import metrics_in
from kdbench.results.records import Axes, Measurement, Pair, Status, measured, missing

FIDELITIES = metrics_in("fidelity")


class Incomparable(NamedTuple):
    """Why two models' answers cannot be compared, and how a record says so."""

    reason: str
    status: Status


def incomparable(
    teacher: BenchModel, student: BenchModel, evaluations: Mapping[str, Evaluation]
) -> Incomparable | None:
    """Return why a student's answers cannot be compared with its teacher's, or None."""
    of_teacher, of_student = evaluations[teacher.id], evaluations[student.id]
    for who, evaluation in ((teacher, of_teacher), (student, of_student)):
        if evaluation.logits is None:
            status = evaluation.status if who is student else "unavailable"
            return Incomparable(f"{who.card.name}: {evaluation.reason}", status)
    assert of_teacher.logits is not None
    assert of_student.logits is not None
    classes = of_teacher.logits.shape[1], of_student.logits.shape[1]
    if classes[0] != classes[1]:
        return Incomparable(f"teacher and student tell {classes[0]} and {classes[1]} classes apart", "unavailable")
    return None


def fidelity_findings(
    teacher: BenchModel,
    student: BenchModel,
    evaluations: Mapping[str, Evaluation],
    axes: Axes | None = None,
    std: Std = "population",
) -> Findings:
    """Return how one student follows its teacher, at `axes` where not on the test set; there its top-1 drop as well.

    KL is of the teacher from the student; that of standardized logits is by the standard deviation `std`.
    """
    why = incomparable(teacher, student, evaluations)
    if why is not None:
        return without_fidelity(teacher, student, *why, axes)
    of_teacher, of_student = evaluations[teacher.id], evaluations[student.id]
    log_t, log_s = of_teacher.log_probabilities(), of_student.log_probabilities()
    same = int((log_t.argmax(axis=1) == log_s.argmax(axis=1)).sum())
    source = f"against {teacher.id}"
    found = {
        "agreement": (statistics.binomial_share(same, len(log_t)), source),
        "predictive_kl": (statistics.mean(kl_divergences(log_t, log_s)), source),
        "standardized_kl": (
            statistics.mean(standardized_kl(log_t, log_s, std)),
            f"{source}, {std} standard deviation",
        ),
    }
    measurements = tuple(
        measured(student.id, metric, e.value, axes=axes, interval=interval_of(e), n=e.n, source=said)
        for metric, (e, said) in found.items()
    )
    correlations = spearman(log_t, log_s)
    order = _correlation(student, correlations[~np.isnan(correlations)], axes, source)
    drops = () if axes else (_top1_drop(teacher, student, of_teacher, of_student),)
    return Findings((*measurements, order), drops)


def without_fidelity(
    teacher: BenchModel, student: BenchModel, reason: str, status: Status, axes: Axes | None = None
) -> Findings:
    """Return every fidelity and, of the test set, the top-1 drop without a number, and the reason."""
    drop = Pair(metric="top1_drop", teacher=teacher.id, student=student.id, value=None, status=status, reason=reason)
    fidelities = tuple(missing(student.id, m, reason, status=status, axes=axes) for m in FIDELITIES)
    return Findings(fidelities, () if axes else (drop,))


def _correlation(student: BenchModel, rhos: "np.ndarray", axes: Axes | None, source: str) -> Measurement:
    """Return the mean of the rank correlations of the samples whose logits have an order."""
    if not len(rhos):
        reason = "the logits of every sample are all equal: they have no order"
        return missing(student.id, "logit_spearman", reason, status="invalid", axes=axes, source=source)
    e = statistics.mean(rhos)
    return measured(student.id, "logit_spearman", e.value, axes=axes, interval=interval_of(e), n=e.n, source=source)


def _top1_drop(teacher: BenchModel, student: BenchModel, of_teacher: Evaluation, of_student: Evaluation) -> Pair:
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
        interval=interval_of(points),
        n=points.n,
    )
