"""Top-1, top-5, loss and calibration of one model, by class too, and whether it learned wrong labels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics
from kdbench.evaluate.fidelity import empirical_risks
from kdbench.evaluate.predictions import LEAST_PROBABILITY, Analyses, Predictions, TrainingImages
from kdbench.results.findings import Findings, estimated
from kdbench.results.metrics import metrics_in
from kdbench.results.records import Axes, Diagnostic, Measurement, measured, missing

ACCURACIES = metrics_in("accuracy", "calibration")
BINS = 15


def accuracy_findings(predictions: Predictions, labels: NDArray[np.int64], axes: Axes | None = None) -> Findings:
    """Return top-1, top-5, loss and calibration error at `axes`; results on the test set have no axes.

    The calibration error has no interval: it is biased upwards, most where there are few samples.
    """
    model, ranks, n = predictions.id, predictions.ranks, len(predictions.ranks)
    where: dict[str, Any] = {"axes": axes, "source": predictions.source}
    top1 = statistics.binomial_share(int(predictions.correct.sum()), n)
    top5 = statistics.binomial_share(int((ranks < 5).sum()), n)
    few = predictions.without_top5
    measurements = [
        estimated(model, "top1", top1, **where),
        estimated(model, "top5", top5, **where) if few is None else missing(model, "top5", few, **where),
    ]
    if (reason := predictions.without_logarithms) is not None:
        measurements.append(missing(model, "loss", reason, **where))
    else:
        risks = empirical_risks(predictions.log_probabilities(), labels)
        measurements.append(estimated(model, "loss", statistics.mean(risks), **where))
    if (reason := predictions.without_confidences) is not None:
        measurements.append(missing(model, "ece", reason, **where))
    else:
        error = expected_calibration_error(predictions.confidences, predictions.correct)
        measurements.append(measured(model, "ece", error, n=n, **where))
    if axes or predictions.form != "probabilities":  # one warning a model
        return Findings(tuple(measurements))
    message = "the output holds probabilities; loss and KL are computed from their logarithms"
    of_labels = np.take_along_axis(predictions.logits, labels[:, None], axis=1).astype(np.float64)
    if zeros := int((of_labels < LEAST_PROBABILITY).sum()):
        nats = -np.log(LEAST_PROBABILITY)
        message += f"; the labels of {zeros} of {n} samples have probability 0, a loss of {nats:.1f} nats, not infinity"
    remedy = "export the logits, before the softmax, for a loss without rounding"
    warning = Diagnostic(code="probabilities", message=message, remedy=remedy, model=model)
    return Findings(tuple(measurements), warnings=(warning,))


def class_accuracies(
    predictions: Predictions, labels: NDArray[np.int64], analyses: Analyses
) -> tuple[Measurement, ...]:
    """Return the balanced accuracy, and the accuracy on each class that has samples.

    The accuracy on a class has the axis `class`: the name of the class, or its number if names are unknown.
    """
    totals = np.bincount(labels)
    hits = np.bincount(labels[predictions.correct], minlength=len(totals))
    shares = {int(c): statistics.binomial_share(int(hits[c]), int(totals[c])) for c in np.flatnonzero(totals)}
    model, source, occurring = predictions.id, predictions.source, list(shares)
    balanced = statistics.mean_of_shares(hits[occurring], totals[occurring])
    by_class = (
        estimated(model, "class_top1", share, axes={"class": analyses.class_axis(label)}, source=source)
        for label, share in shares.items()
    )
    return (estimated(model, "balanced_accuracy", balanced, source=source), *by_class)


def expected_calibration_error(confidences: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS) -> float:
    """Return ECE = sum_m |B_m| / N |accuracy(B_m) - confidence(B_m)| of `confidences` (N,), `correct` (N,) or not.

    A sample's confidence is its largest probability; bin m of equal width holds those in ((m - 1) / M, m / M].
    Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3, with their 15 bins.
    """
    edges = np.linspace(0, 1, bins + 1)
    bin_of = np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=correct - confidences, minlength=bins)  # |B_m| (accuracy - confidence)
    return float(np.abs(gaps).sum() / len(correct))


NOISE = metrics_in("label noise")


def noise_outcomes(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], true_labels: NDArray[np.int64]
) -> tuple[int, int, int]:
    """Count images with a wrong label: predicted as their true class, predicted as the wrong label, and all of them.

    All three arrays are (N,). A prediction of the wrong label shows that the model has memorised it.
    """
    flipped = labels != true_labels
    right, wrong = flipped & (predicted == true_labels), flipped & (predicted == labels)
    return int(right.sum()), int(wrong.sum()), int(flipped.sum())


def noise_measurements(predictions: Predictions, images: TrainingImages) -> tuple[Measurement, ...]:
    """Return the shares of the images with a wrong label that are predicted as the true class, and as the wrong one."""
    *counts, n = noise_outcomes(predictions.predicted, images.labels, images.true_labels)
    return tuple(
        estimated(predictions.id, metric, statistics.binomial_share(count, n), source=predictions.source)
        for metric, count in zip(NOISE, counts, strict=True)
    )
