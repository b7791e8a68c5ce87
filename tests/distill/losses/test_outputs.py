"""Squared errors of outputs, against sums written out in numpy."""

import numpy as np
import pytest
import torch

from kdbench.distill.losses.outputs import mean_outputs, mean_squared_error, squared_errors

RNG = np.random.default_rng(0)
OUTPUTS, TARGETS = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 3))


def float32(values):
    return torch.tensor(values, dtype=torch.float32)


def test_the_mean_runs_over_the_batch_and_the_components():
    expected = sum((OUTPUTS[i, j] - TARGETS[i, j]) ** 2 for i in range(6) for j in range(3)) / 18
    assert mean_squared_error(float32(OUTPUTS), float32(TARGETS)).item() == pytest.approx(expected, rel=1e-6)
    assert squared_errors(float32(OUTPUTS), float32(TARGETS)).item() == pytest.approx(6 * expected, rel=1e-6)


def test_it_is_computed_in_float32_whatever_the_network_computes_in():
    loss = mean_squared_error(float32(OUTPUTS).bfloat16(), float32(TARGETS))
    assert loss.dtype == torch.float32


@pytest.mark.parametrize("shape", [(6,), (6, 1), (1, 3)])
def test_shapes_that_torch_would_broadcast_are_refused(shape):
    """(B,) against (B, 1) would give B² differences, and no error."""
    for loss in (mean_squared_error, squared_errors):
        with pytest.raises(ValueError, match="differ in shape"):
            loss(float32(OUTPUTS), torch.zeros(shape))


def test_an_ensemble_predicts_the_mean():
    other = RNG.normal(size=(6, 3))
    mean = mean_outputs([float32(OUTPUTS), float32(other)])
    torch.testing.assert_close(mean, float32((OUTPUTS + other) / 2))
    one = float32(OUTPUTS)
    assert mean_outputs([one]) is one
