"""Where the divergence from the teacher ranks two students wrongly, and what standardizing the logits changes.

The analysis of Ahad, "Knowledge Distillation Techniques: Analysis and Comparison", section 2: a student that is right
may have the larger divergence from the teacher than one that is wrong, because its logits are of another size.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdbench.evaluate.analyses import Analyses
from kdbench.evaluate.fidelity import Std, kl_divergences, spearman, standardized_kl
from kdbench.evaluate.predictions import Predictions
from kdbench.results.metrics import metrics_in
from kdbench.results.records import Axes, Measurement, measured

MISMATCHES = metrics_in("mismatches")


@dataclass(frozen=True, eq=False)
class Mismatches:
    """The samples on which the teacher and exactly one of two students are right.

    `contested` are their positions (M,); `before` (M,) says where the student that is right has the larger
    KL(teacher || student), a mismatch; `after` says the same for standardized logits.
    """

    contested: NDArray[np.int64]
    before: NDArray[np.bool_]
    after: NDArray[np.bool_]

    @property
    def fixed(self) -> NDArray[np.int64]:
        """The positions of mismatches that standardization resolves."""
        return self.contested[self.before & ~self.after]

    @property
    def made(self) -> NDArray[np.int64]:
        """The positions of mismatches that standardization introduces."""
        return self.contested[~self.before & self.after]


def mismatches(
    teacher: NDArray[np.float64],
    students: tuple[NDArray[np.float64], NDArray[np.float64]],
    labels: NDArray[np.int64],
    std: Std = "population",
) -> Mismatches:
    """Return the mismatches of two students, from log p (N, C) of all three models and the labels (N,).

    Samples on which the teacher is wrong are left out: there a student that is right should be far from it.
    """
    correct = [student.argmax(axis=1) == labels for student in students]
    contested = np.flatnonzero((correct[0] ^ correct[1]) & (teacher.argmax(axis=1) == labels))
    first_is_correct = correct[0][contested]
    t, first, second = (values[contested] for values in (teacher, *students))

    def against(kl_first: NDArray[np.float64], kl_second: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.where(first_is_correct, kl_first > kl_second, kl_second > kl_first)

    return Mismatches(
        contested,
        before=against(kl_divergences(t, first), kl_divergences(t, second)),
        after=against(standardized_kl(t, first, std), standardized_kl(t, second, std)),
    )


def mismatch_measurements(
    teacher: Predictions,
    students: tuple[Predictions, Predictions],
    labels: NDArray[np.int64],
    analyses: Analyses,
    axes: Axes | None = None,
) -> tuple[Measurement, ...]:
    """Return the mismatches of a student and an independent one, `students`, of one teacher; `n` are the contested.

    They belong to the first student, at axis `beside`, the other's id. On the test set, without `axes`, the first
    mismatch that standardization resolves is an example of both, at axis `sample`, its position from 0.
    """
    student, other = students
    log_t, *logs = (predictions.log_probabilities() for predictions in (teacher, *students))
    result = mismatches(log_t, (logs[0], logs[1]), labels, analyses.std)
    counts = (int(result.before.sum()), len(result.fixed), len(result.made))
    where, source = {**(axes or {}), "beside": other.id}, f"against {teacher.id}, {analyses.std} standard deviation"
    measurements = [
        measured(student.id, metric, count, axes=where, n=len(result.contested), source=source)
        for metric, count in zip(MISMATCHES, counts, strict=True)
    ]
    if not axes and len(result.fixed):
        sample = int(result.fixed[0])
        label_axes: Axes = {"sample": sample, "class": analyses.class_axis(int(labels[sample]))}
        for (model, beside), log_s in zip(((student, other), (other, student)), logs, strict=True):
            example_axes = {**label_axes, "beside": beside.id}
            one_t, one_s = log_t[[sample]], log_s[[sample]]
            values = {
                "predictive_kl": kl_divergences(one_t, one_s)[0],
                "standardized_kl": standardized_kl(one_t, one_s, analyses.std)[0],
                "logit_spearman": spearman(one_t, one_s)[0],
                "top1": one_s.argmax() == labels[sample],
            }
            measurements += [measured(model.id, m, float(v), axes=example_axes, n=1) for m, v in values.items()]
    return tuple(measurements)
