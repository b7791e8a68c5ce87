"""Standardized logits."""

import numpy as np
import pytest
import torch
from distill.losses.example_logits import FOUR, TEN, row
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench.distill.losses.logits import softened_kl, standardize

STANDARDIZED = [
    (FOUR, "wrong", "0.1347"),
    (FOUR, "right", "0.0000"),
    (TEN, "wrong", "0.1923"),
    (TEN, "right", "0.0000"),
]


@pytest.mark.parametrize(("toy", "student", "printed"), STANDARDIZED)
def test_the_standardized_divergence_has_the_published_toy_value(toy, student, printed):
    pair = [standardize(row(toy[name]), "population") for name in (student, "teacher")]
    assert f"{softened_kl(*pair, 1.0).item():z.4f}" == printed


@pytest.mark.parametrize(("std", "ddof"), [("population", 0), ("unbiased", 1)])
def test_rows_are_standardized_as_numpy_does(std, ddof):
    logits = 5 + 3 * np.random.default_rng(0).normal(size=(6, 10))
    expected = np.stack([(sample - np.average(sample)) / (1e-7 + np.std(sample, ddof=ddof)) for sample in logits])
    np.testing.assert_allclose(standardize(torch.tensor(logits), std), expected, rtol=1e-9, atol=1e-12)


@settings(deadline=None)
@given(st.floats(0.1, 50), st.floats(-20, 20))
def test_location_and_scale_of_the_logits_do_not_matter(scale, shift):
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = standardize(scale * logits + shift, "unbiased")
    torch.testing.assert_close(moved, standardize(logits, "unbiased"), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("std", ["population", "unbiased"])
def test_a_row_of_equal_logits_becomes_zeros_with_finite_gradients(std):
    logits = torch.full((2, 5), 3.0, requires_grad=True)
    result = standardize(logits, std)
    assert torch.equal(result, torch.zeros(2, 5))
    softened_kl(result, torch.eye(5)[:2], 2.0).backward()
    assert torch.isfinite(logits.grad).all()


def test_bfloat16_logits_are_standardized_in_float32():
    logits = torch.randn(4, 100, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        result = standardize(logits, "unbiased")
    torch.testing.assert_close(result, standardize(logits.float(), "unbiased"), rtol=0, atol=0)
