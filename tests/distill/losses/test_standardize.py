"""Logit standardization against a study's published toy values and against numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench.distill.losses import softened_kl, standardize

# Ahad, "Knowledge Distillation Techniques", task 2: KL in nats at temperature 1, population std. The wrong student
# ranks another class first but lies near the teacher; the right one has a tenth of the teacher's logits.
FOUR = {"teacher": [1, 4, 3, 2], "wrong": [1, 2.8, 3, 2], "right": [0.1, 0.4, 0.3, 0.2]}
TEN = {
    "teacher": [1, 4, 0.5, 1.5, 7, 2, 2.5, 3, 3.5, 4.5],
    "wrong": [1.1, 4.2, 0.6, 1.6, 6.8, 2.1, 2.6, 3.1, 3.6, 7.5],
    "right": [0.1, 0.4, 0.05, 0.15, 0.7, 0.2, 0.25, 0.3, 0.35, 0.45],
}
RAW = [(FOUR, "wrong", "0.1749"), (FOUR, "right", "0.3457"), (TEN, "wrong", "0.7192"), (TEN, "right", "1.2317")]
STANDARDIZED = [
    (FOUR, "wrong", "0.1347"),
    (FOUR, "right", "0.0000"),
    (TEN, "wrong", "0.1923"),
    (TEN, "right", "0.0000"),
]


def row(values):
    return torch.tensor([values], dtype=torch.float32)


@pytest.mark.parametrize(("toy", "student", "printed"), RAW)
def test_the_raw_divergence_has_the_published_toy_value(toy, student, printed):
    assert f"{softened_kl(row(toy[student]), row(toy['teacher']), 1.0).item():.4f}" == printed


@pytest.mark.parametrize(("toy", "student", "printed"), STANDARDIZED)
def test_the_standardized_divergence_has_the_published_toy_value(toy, student, printed):
    pair = [standardize(row(toy[each]), "population") for each in (student, "teacher")]
    assert f"{softened_kl(*pair, 1.0).item():z.4f}" == printed


@pytest.mark.parametrize(("std", "ddof"), [("population", 0), ("unbiased", 1)])
def test_rows_are_standardized_as_numpy_does(std, ddof):
    logits = 5 + 3 * np.random.default_rng(0).normal(size=(6, 10))
    expected = np.stack([(each - np.average(each)) / (1e-7 + np.std(each, ddof=ddof)) for each in logits])
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
    found = standardize(logits, std)
    assert torch.equal(found, torch.zeros(2, 5))
    softened_kl(found, torch.eye(5)[:2], 2.0).backward()
    assert torch.isfinite(logits.grad).all()


def test_bfloat16_logits_are_standardized_in_float32():
    logits = torch.randn(4, 100, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = standardize(logits, "unbiased")
    torch.testing.assert_close(found, standardize(logits.float(), "unbiased"), rtol=0, atol=0)
