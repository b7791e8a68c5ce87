"""What kdbench suspects of a regression whose predictions follow the targets, but are far from them."""

import numpy as np
import pytest

from kdbench.evaluate.errors import PredictedNumbers
from kdbench.evaluate.regression_checks import regression_warnings
from kdbench.results.cards import ModelCard, Variant

RNG = np.random.default_rng(3)
TARGETS = RNG.normal(1000, 300, (80, 3))
NOISE = RNG.normal(0, 100, TARGETS.shape)


def found(values, targets=TARGETS, **keys):
    card = ModelCard(
        id="m", name="m", role="student", file="m.onnx", sha256="0" * 64, input_shape=(4,), classes=None,
        targets=("a", "b", "c")[: targets.shape[1]], parameters=1, **keys,
    )  # fmt: skip
    return list(regression_warnings([PredictedNumbers(card, values)], targets))


@pytest.mark.parametrize(
    "values",
    [
        (TARGETS + NOISE - 1000) / 300,  # standardised
        (TARGETS + NOISE) / 1000,
        np.log(np.abs(TARGETS + NOISE)),
        -(TARGETS + NOISE),
    ],
)
def test_predictions_in_another_unit(values):
    (warning,) = found(values)
    r = np.corrcoef(values[:, 0], TARGETS[:, 0])[0, 1]
    assert (warning.code, warning.model) == ("target_unit", "m")
    assert f"predictions of 'a' follow the targets (r = {r:.2f})" in warning.message
    assert found(values[:, :1], TARGETS[:, :1])
    assert not found(values[:19], TARGETS[:19])
    made = Variant(of="best", source_sha256="0", method="int8", key="0")
    assert not found(values, variant=made)


def test_targets_in_another_order():
    (warning,) = found((TARGETS + NOISE)[:, [0, 2, 1]])
    assert warning.code == "target_order"
    assert "its prediction of 'b' follows the target 'c'" in warning.message


@pytest.mark.parametrize(
    "values",
    [
        TARGETS + NOISE,
        TARGETS + 8 * NOISE,  # noisy, and in the right unit
        RNG.normal(0, 1, TARGETS.shape),  # it predicts nothing
        np.full_like(TARGETS, 1000),
    ],
)
def test_other_errors_have_no_known_cause(values):
    assert not found(values)


def test_targets_that_do_not_vary_follow_nothing():
    assert not found(TARGETS, np.full_like(TARGETS, 1000))
