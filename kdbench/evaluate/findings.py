"""What the record says of the analyses: calibration, classes, wrong labels, risks, mismatches."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics
from kdbench.evaluate.accuracy import Evaluation
from kdbench.evaluate.calibration import expected_calibration_error
from kdbench.evaluate.class_accuracy import right_by_class
from kdbench.evaluate.divergence import kl_divergences
from kdbench.evaluate.fidelity import incomparable
from kdbench.evaluate.label_noise import noise_outcomes
from kdbench.evaluate.mismatch import mismatches
from kdbench.evaluate.plan import Analyses, TrainingImages
from kdbench.evaluate.rank_correlation import spearman
from kdbench.evaluate.risk import risk_variances
from kdbench.evaluate.standardization import standardized_kl
from kdbench.measure.bench_model import BenchModel
from kdbench.results.findings import Findings, interval_of
from kdbench.results.metrics import metrics_in
from kdbench.results.records import Axes, Measurement, Status, measured, missing

RISKS, NOISE, MISMATCHES = metrics_in("risk"), metrics_in("label noise"), metrics_in("mismatches")


def calibration_findings(
    subject: BenchModel, evaluation: Evaluation, labels: NDArray[np.int64], axes: Axes | None = None
) -> Findings:
    """Return the calibration error, without an interval: it is biased upwards, most where there are few samples."""
    if evaluation.logits is None:
        return _without(subject, ("ece",), evaluation, axes)
    error = expected_calibration_error(evaluation.log_probabilities(), labels)
    return Findings((measured(subject.id, "ece", error, axes=axes, n=len(labels), source=evaluation.source),))


def class_findings(
    subject: BenchModel, evaluation: Evaluation, labels: NDArray[np.int64], analyses: Analyses
) -> Findings:
    """Return the accuracy on each class that has samples, at axis `class`: its name, or number."""
    if evaluation.ranks is None:
        return _without(subject, ("class_top1",), evaluation)
    found = []
    for label, (right, n) in right_by_class(evaluation.ranks == 0, labels).items():
        share = statistics.binomial_share(right, n)
        axes = {"class": analyses.axis_of(label)}
        found.append(_share(subject, "class_top1", share, evaluation, axes))
    return Findings(tuple(found))


def noise_findings(subject: BenchModel, evaluation: Evaluation, images: TrainingImages) -> Findings:
    """Return which shares of the images with a wrong label the model was not, and was, misled on; none without such."""
    if not images.flipped.any():
        return Findings()
    if evaluation.logits is None:
        return _without(subject, NOISE, evaluation)
    outcomes = noise_outcomes(evaluation.logits.argmax(axis=1), images.given, images.true)
    shares = (statistics.binomial_share(k, outcomes.n) for k in (outcomes.corrected, outcomes.memorised))
    return Findings(
        tuple(_share(subject, metric, share, evaluation) for metric, share in zip(NOISE, shares, strict=True))
    )


def risk_findings(
    teacher: BenchModel, student: BenchModel, evaluations: Mapping[str, Evaluation], labels: NDArray[np.int64]
) -> Findings:
    """Return the variances of a student's empirical risk, and of its risk distilled by its teacher's probabilities."""
    why = incomparable(teacher, student, evaluations)
    if why is not None:
        return without_risks(student, why.reason, why.status)
    log_t, log_s = (evaluations[who.id].log_probabilities() for who in (teacher, student))
    variances = risk_variances(log_s, log_t, labels)
    source = f"probabilities of {teacher.id}"
    return Findings(
        tuple(
            measured(student.id, metric, variance, n=len(labels), source=source)
            for metric, variance in zip(RISKS, variances, strict=True)
        )
    )


def without_risks(student: BenchModel, reason: str, status: Status) -> Findings:
    """Return both variances without a number, and the reason."""
    return Findings(tuple(missing(student.id, metric, reason, status=status) for metric in RISKS))


def mismatch_findings(
    teacher: BenchModel,
    students: tuple[BenchModel, BenchModel],
    evaluations: Mapping[str, Evaluation],
    labels: NDArray[np.int64],
    analyses: Analyses,
    axes: Axes | None = None,
) -> Findings:
    """Return the mismatches of a student and the independent one, `students`, of one teacher; `n` are the contested.

    They are the first student's, at axis `beside`, the other's id. On the test set the first mismatch that
    standardization mends is told of both as well, at axis `sample`, its position there from 0.
    """
    student, other = students
    where = {**(axes or {}), "beside": other.id}
    for one in students:
        why = incomparable(teacher, one, evaluations)
        if why is not None:
            return Findings(
                tuple(missing(student.id, m, why.reason, status=why.status, axes=where) for m in MISMATCHES)
            )
    log_t, *logs = (evaluations[who.id].log_probabilities() for who in (teacher, *students))
    found = mismatches(log_t, (logs[0], logs[1]), labels, analyses.std)
    counts = (int(found.before.sum()), len(found.fixed), len(found.made))
    source = f"against {teacher.id}, {analyses.std} standard deviation"
    counted = [
        measured(student.id, metric, count, axes=where, n=len(found.contested), source=source)
        for metric, count in zip(MISMATCHES, counts, strict=True)
    ]
    if axes or not len(found.fixed):
        return Findings(tuple(counted))
    sample = int(found.fixed[0])
    examples = [
        example
        for (one, beside), log_s in zip(((student, other), (other, student)), logs, strict=True)
        for example in _example(one, beside, log_t[[sample]], log_s[[sample]], int(labels[sample]), sample, analyses)
    ]
    return Findings((*counted, *examples))


def _example(
    student: BenchModel,
    beside: BenchModel,
    log_t: NDArray[np.float64],
    log_s: NDArray[np.float64],
    label: int,
    sample: int,
    analyses: Analyses,
) -> Iterator[Measurement]:
    """Yield what is said of one sample: both divergences, the order of the classes, and whether it is right."""
    values = {
        "predictive_kl": kl_divergences(log_t, log_s)[0],
        "standardized_kl": standardized_kl(log_t, log_s, analyses.std)[0],
        "logit_spearman": spearman(log_t, log_s)[0],
        "top1": float(log_s[0].argmax() == label),
    }
    axes: Axes = {"sample": sample, "class": analyses.axis_of(label), "beside": beside.id}
    for metric, value in values.items():
        yield measured(student.id, metric, float(value), axes=axes, n=1)


def _share(
    subject: BenchModel, metric: str, share: statistics.Estimate, evaluation: Evaluation, axes: Axes | None = None
) -> Measurement:
    bounds = interval_of(share)
    return measured(subject.id, metric, share.value, axes=axes, interval=bounds, n=share.n, source=evaluation.source)


def _without(
    subject: BenchModel, metrics: tuple[str, ...], evaluation: Evaluation, axes: Axes | None = None
) -> Findings:
    reason, status, source = evaluation.reason, evaluation.status, evaluation.source
    return Findings(
        tuple(missing(subject.id, metric, reason, status=status, axes=axes, source=source) for metric in metrics)
    )
