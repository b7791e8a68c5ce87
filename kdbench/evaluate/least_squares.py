"""Least squares in closed form: what a linear student of a regression learns, and its expected error under label noise.

A student with a share w of its weights on the teacher's predictions ŷ_t minimises (1 - w)·|y - Xβ|² + w·|ŷ_t - Xβ|².
With features X of full rank, a column of ones included, the minimum is least squares on (1 - w)·y + w·ŷ_t:

    β = (1 - w)·β_OLS + w·β_t,    β_OLS = (XᵀX)⁻¹Xᵀy,    β_t = (XᵀX)⁻¹Xᵀŷ_t.

If y = Xβ* + ε with noise of variance σ², independent of the teacher, the error on noiseless samples with second moments
Σ is on average

    (1 - w)²·σ²·tr((XᵀX)⁻¹Σ) + w²·|β_t - β*|²_Σ,

which is smallest at w = V / (V + B) with V = σ²·tr((XᵀX)⁻¹Σ) and B = |β_t - β*|²_Σ: the noisier the labels, the larger
the best share of the teacher.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearProblem:
    """The data of one linear student: `features` (N, F), `test_features` (M, F) and `test_targets` (M, D).

    `labels` (N, D) are those of the training, `clean` (N, D) those before noise of standard deviation `std` was added.
    `teacher_predictions` (N, D) have the weight `share` (w above), which is 0 without a teacher.
    """

    features: Numbers
    labels: Numbers
    clean: Numbers
    std: float
    teacher_predictions: Numbers
    share: float
    test_features: Numbers
    test_targets: Numbers

    @property
    def is_determined(self) -> bool:
        """Whether the solution is unique: the features with the column of ones have full rank."""
        return bool(np.linalg.matrix_rank(_affine(self.features)) == self.features.shape[1] + 1)

    def closed_form_mse(self) -> float:
        """Return the test error of the minimum of the objective."""
        return self._error(self._mixed(self.labels))

    def expected_mse(self) -> float:
        """Return the mean of `closed_form_mse` over the noise on the labels."""
        return self._error(self._mixed(self.clean)) + (1 - self.share) ** 2 * self.variance()

    def variance(self) -> float:
        """Return V = σ²·tr((XᵀX)⁻¹Σ): the error that the noise adds to a student without a teacher."""
        inverse = np.linalg.inv(_affine(self.features).T @ _affine(self.features))
        test = _affine(self.test_features)
        return self.std**2 * float(np.trace(inverse @ (test.T @ test))) / len(test)

    def _mixed(self, labels: Numbers) -> Numbers:
        return (1 - self.share) * labels + self.share * self.teacher_predictions

    def _error(self, targets: Numbers) -> float:
        coefficients, *_ = np.linalg.lstsq(_affine(self.features), targets, rcond=None)
        return float(((_affine(self.test_features) @ coefficients - self.test_targets) ** 2).mean())


def _affine(features: Numbers) -> Numbers:
    """Return features (N, F) with a column of ones, (N, F + 1)."""
    return np.hstack([features, np.ones((len(features), 1))])
