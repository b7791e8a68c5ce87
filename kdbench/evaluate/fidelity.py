"""How closely a student follows its teacher: agreement, divergence (Stanton et al. 2021), order of the classes."""

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics
from kdbench.evaluate.divergence import Std, kl_divergences, spearman, standardized_kl
from kdbench.evaluate.predictions import Predictions
from kdbench.results.findings import Findings, estimated, interval_of
from kdbench.results.metrics import metrics_in
from kdbench.results.records import Axes, Measurement, Pair, missing

FIDELITIES = metrics_in("fidelity")


def fidelity_findings(
    teacher: Predictions, student: Predictions, axes: Axes | None = None, std: Std = "population"
) -> Findings:
    """Return the student's fidelities at `axes`; on the test set, without axes, its top-1 drop as well.

    KL is of the teacher from the student; that of standardized logits uses the standard deviation `std`. Both models
    have the same classes.
    """
    assert teacher.classes == student.classes
    log_t, log_s = teacher.log_probabilities(), student.log_probabilities()
    same = int((log_t.argmax(axis=1) == log_s.argmax(axis=1)).sum())
    source = f"against {teacher.id}"
    kl, standardized = (
        statistics.mean(kl_divergences(log_t, log_s)),
        statistics.mean(standardized_kl(log_t, log_s, std)),
    )
    measurements = (
        estimated(student.id, "agreement", statistics.binomial_share(same, len(log_t)), axes=axes, source=source),
        estimated(student.id, "predictive_kl", kl, axes=axes, source=source),
        estimated(student.id, "standardized_kl", standardized, axes=axes, source=f"{source}, {std} standard deviation"),
        _correlation(student.id, spearman(log_t, log_s), axes, source),
    )
    return Findings(measurements, () if axes else (_top1_drop(teacher, student),))


def _correlation(student: str, rhos: NDArray[np.float64], axes: Axes | None, source: str) -> Measurement:
    """Return the mean of the rank correlations of the samples whose logits have an order."""
    ordered = rhos[~np.isnan(rhos)]
    if not len(ordered):
        reason = "the logits of every sample are all equal: they have no order"
        return missing(student, "logit_spearman", reason, status="invalid", axes=axes, source=source)
    return estimated(student, "logit_spearman", statistics.mean(ordered), axes=axes, source=source)


def _top1_drop(teacher: Predictions, student: Predictions) -> Pair:
    correct_t, correct_s = teacher.correct, student.correct
    drop = statistics.paired_share_difference(
        int((correct_t & ~correct_s).sum()), int((correct_s & ~correct_t).sum()), len(correct_t)
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
