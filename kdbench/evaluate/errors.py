"""How far a regression's predictions are from the targets, and from the teacher's predictions."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics
from kdbench.results.cards import ModelCard
from kdbench.results.findings import Findings, estimated, estimated_pair, missing_pair
from kdbench.results.metrics import metrics_in
from kdbench.results.records import Axes, Measurement, Pair, missing

ERRORS, TEACHER_ERRORS = metrics_in("errors"), metrics_in("teacher errors")
TARGET_ERRORS = metrics_in("target errors")

Numbers = NDArray[np.float64]
"""Predictions or targets (N, D), or one value of each sample, (N,)."""


@dataclass(frozen=True, eq=False)
class PredictedNumbers:
    """The finite `values` (N, D) that the model `card` predicts; `source` says how it was run."""

    card: ModelCard
    values: Numbers
    source: str | None = None

    @property
    def id(self) -> str:
        """The model's id."""
        return self.card.id

    def select(self, samples: NDArray[np.bool_]) -> "PredictedNumbers":
        """Return the predictions for some of the samples, (N,)."""
        return replace(self, values=self.values[samples])


def squared_errors(values: Numbers, others: NDArray[np.floating]) -> Numbers:
    """Return the mean over the D components of the squared differences, (N,), of two arrays (N, D)."""
    return np.asarray(((values - others) ** 2).mean(axis=1))


def absolute_errors(values: Numbers, others: NDArray[np.floating]) -> Numbers:
    """Return the mean over the D components of the absolute differences, (N,), of two arrays (N, D)."""
    return np.asarray(np.abs(values - others).mean(axis=1))


def error_measurements(
    predictions: PredictedNumbers, targets: NDArray[np.floating], axes: Axes | None = None
) -> tuple[Measurement, ...]:
    """Return MSE, RMSE, MAE and R² against `targets` (N, D) at `axes`; results on the test set have no axes."""
    where = dict[str, Any](axes=axes, source=predictions.source)
    squared = statistics.positive_mean(squared_errors(predictions.values, targets))
    return (estimated(predictions.id, "mse", squared, **where), *_errors(predictions, targets, "", where))


def target_measurements(predictions: PredictedNumbers, targets: NDArray[np.floating]) -> tuple[Measurement, ...]:
    """Return RMSE, MAE and R² of each component of `targets` (N, D), if D > 1; the axis `target` is its name."""
    measurements: list[Measurement] = []
    for column, name in enumerate(predictions.card.targets if targets.shape[1] > 1 else ()):
        component = replace(predictions, values=predictions.values[:, column : column + 1])
        where = dict[str, Any](axes={"target": name}, source=predictions.source)
        measurements += _errors(component, targets[:, column : column + 1], "target_", where)
    return tuple(measurements)


def _errors(
    predictions: PredictedNumbers, targets: NDArray[np.floating], prefix: str, where: dict[str, Any]
) -> tuple[Measurement, ...]:
    """Return RMSE, MAE and R²; `prefix` begins their metric ids."""
    model, values = predictions.id, predictions.values
    determination = statistics.determination(values, targets.astype(np.float64))
    return (
        estimated(model, f"{prefix}rmse", statistics.root_mean(squared_errors(values, targets)), **where),
        estimated(model, f"{prefix}mae", statistics.positive_mean(absolute_errors(values, targets)), **where),
        missing(model, f"{prefix}r2", "the targets do not vary", status="invalid", **where)
        if np.isnan(determination.value)
        else estimated(model, f"{prefix}r2", determination, **where),
    )


def teacher_findings(
    teacher: PredictedNumbers, student: PredictedNumbers, targets: NDArray[np.floating], axes: Axes | None = None
) -> Findings:
    """Return the MSE between student and teacher at `axes`; on the test set, without axes, also the ratio of RMSEs."""
    distance = statistics.positive_mean(squared_errors(student.values, teacher.values))
    measurement = estimated(student.id, "teacher_mse", distance, axes=axes, source=f"against {teacher.id}")
    return Findings((measurement,), () if axes else (_ratio(teacher, student, targets),))


def _ratio(teacher: PredictedNumbers, student: PredictedNumbers, targets: NDArray[np.floating]) -> Pair:
    teacher_errors, student_errors = (squared_errors(model.values, targets) for model in (teacher, student))
    if not student_errors.any():
        return missing_pair(teacher.id, student.id, "rmse_ratio", "the student makes no error")
    ratio = statistics.root_mean_ratio(teacher_errors, student_errors)
    return estimated_pair(teacher.id, student.id, "rmse_ratio", ratio)
