"""Differences between a student and its teacher, sample by sample: flips, the worst class, calibration.

Two models with the same accuracy may be right on different samples. A negative flip is a sample that the teacher
classifies correctly and the student does not, a positive flip the reverse (Yan et al. 2021, "Positive-Congruent
Training"); the top-1 drop is the difference of their shares. What a compressed model loses is often concentrated in few
classes (Hooker et al. 2020, "Characterising Bias in Compressed Models").
"""

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics
from kdbench.evaluate.accuracy import expected_calibration_error
from kdbench.evaluate.predictions import Analyses, Predictions, first_reason
from kdbench.results.findings import estimated_pair, missing_pair
from kdbench.results.metrics import PAIR_METRICS
from kdbench.results.records import Pair
from kdbench.statistics import Estimate

FLIPS = tuple(metric.id for metric in PAIR_METRICS.values() if metric.group == "flips")
"""The metrics of every pair of a teacher and a student that classify, on the test set."""
_CALIBRATION = ("ece_shift", "overconfidence_shift")


def flip_pairs(
    teacher: Predictions, student: Predictions, labels: NDArray[np.int64], analyses: Analyses
) -> tuple[Pair, ...]:
    """Return the FLIPS of a student, from the predictions of both models for the same samples with `labels` (N,).

    The drop of the worst class has the axis `class`: its name, or its number. Classes that the data does not have may
    differ between the models, because only whether each model is right counts. Models without probabilities have no
    calibration.
    """
    lost, gained = teacher.correct & ~student.correct, student.correct & ~teacher.correct
    negative, positive, n = int(lost.sum()), int(gained.sum()), len(labels)
    classes, class_index = np.unique(labels, return_inverse=True)
    counts = (np.bincount(class_index, samples, len(classes)).astype(np.int64) for samples in (lost, gained, None))
    place, drop = statistics.largest_paired_difference(*counts)
    both, worst = (teacher.id, student.id), {"class": analyses.class_axis(int(classes[place]))}
    return (
        estimated_pair(*both, "negative_flips", statistics.exact_share(negative, n)),
        estimated_pair(*both, "positive_flips", statistics.exact_share(positive, n)),
        estimated_pair(
            *both, "mcnemar_p", Estimate(statistics.mcnemar(negative, positive), None, None, negative + positive)
        ),
        estimated_pair(*both, "worst_class_drop", statistics.in_points(drop), axes=worst),
        *_calibration(teacher, student),
    )


def _calibration(teacher: Predictions, student: Predictions) -> tuple[Pair, ...]:
    """Return the increases of the calibration error and of the overconfidence (confidence - accuracy), in points.

    The calibration error is biased, so its increase has no interval. Overconfidence is a mean over the samples.
    """
    models, both = (teacher, student), (teacher.id, student.id)
    if reason := first_reason({model.id: model.without_confidences for model in models}):
        return tuple(missing_pair(*both, metric, reason) for metric in _CALIBRATION)
    errors = [expected_calibration_error(model.confidences, model.correct) for model in models]
    over_t, over_s = (model.confidences - model.correct for model in models)
    return (
        estimated_pair(*both, "ece_shift", Estimate(100 * (errors[1] - errors[0]), None, None, len(over_s))),
        estimated_pair(*both, "overconfidence_shift", statistics.in_points(statistics.mean(over_s - over_t))),
    )
