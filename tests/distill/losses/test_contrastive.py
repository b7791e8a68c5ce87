"""CRD against loops over probabilities, as the paper and the authors' code write it."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench.distill.losses.contrastive import (
    contrast_log_partition,
    contrast_scores,
    contrastive_loss,
    momentum_update,
)

TAU = 0.07


def unit_vectors(samples, width=8, seed=0):
    values = torch.randn(samples, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values / values.norm(dim=1, keepdim=True)


def drawn(batch=3, negatives=6, n_data=20, seed=0):
    return torch.randint(n_data, (batch, 1 + negatives), generator=torch.Generator().manual_seed(seed))


def looped_loss(scores, n_data, partition):
    """Return the loss of scores (B, 1 + n), pair by pair, with the probabilities of Tian et al. 2020, eq. 18."""
    batch, width = scores.shape
    noise = (width - 1) / n_data
    total = 0.0
    for row in scores.tolist():
        for column, score in enumerate(row):
            p = math.exp(score / TAU) / partition
            h = p / (p + noise)
            total -= math.log(h) if column == 0 else math.log(1 - h)
    return total / batch


def test_scores_are_inner_products_with_the_rows_drawn():
    anchors, bank, samples = unit_vectors(3), unit_vectors(20, seed=1), drawn()
    expected = [[np.dot(anchors.numpy()[b], bank.numpy()[i]) for i in row] for b, row in enumerate(samples.tolist())]
    np.testing.assert_allclose(contrast_scores(anchors, bank, samples), expected, rtol=1e-12)


@pytest.mark.parametrize("partition", [1.0, 2e4])
def test_loss_is_the_loop_over_pairs(partition):
    scores = 0.3 * contrast_scores(unit_vectors(3), unit_vectors(20, seed=1), drawn())
    result = contrastive_loss(scores, temperature=TAU, n_data=20, log_partition=math.log(partition))
    assert result.item() == pytest.approx(looped_loss(scores, 20, partition), rel=1e-9)


def test_loss_is_the_binary_cross_entropy_of_positives_and_negatives():
    scores = 0.3 * contrast_scores(unit_vectors(3), unit_vectors(20, seed=1), drawn())
    odds = (scores / TAU).exp() * 20 / 6
    is_positive = torch.zeros(3, 7, dtype=torch.float64)
    is_positive[:, 0] = 1
    expected = F.binary_cross_entropy(odds / (1 + odds), is_positive, reduction="sum") / 3
    torch.testing.assert_close(contrastive_loss(scores, temperature=TAU, n_data=20, log_partition=0.0), expected)


def test_partition_is_the_data_sets_size_times_the_mean_of_exponentials():
    """As in the authors' code: Z = mean(exp(score / τ)) · n_data."""
    scores = contrast_scores(unit_vectors(3), unit_vectors(20, seed=1), drawn()).requires_grad_()
    result = contrast_log_partition(scores, temperature=TAU, n_data=20)
    assert result.exp().item() == pytest.approx(20 * np.exp(scores.detach().numpy() / TAU).mean(), rel=1e-9)
    assert not result.requires_grad


def test_equal_scores_under_their_own_partition_are_the_noise_itself():
    """Then p = 1 / n_data for every pair, and h = 1 / (1 + n): log(1 + n) + n · log((1 + n) / n)."""
    scores = torch.full((5, 9), 0.4)
    log_partition = contrast_log_partition(scores, temperature=TAU, n_data=1000)
    result = contrastive_loss(scores, temperature=TAU, n_data=1000, log_partition=log_partition)
    assert result.item() == pytest.approx(math.log(9) + 8 * math.log(9 / 8), rel=1e-5)


def test_the_gradient_draws_the_anchor_to_its_positive_and_away_from_the_others():
    scores = torch.zeros(2, 4, requires_grad=True)
    contrastive_loss(scores, temperature=TAU, n_data=50, log_partition=0.0).backward()
    assert (scores.grad[:, 0] < 0).all()
    assert (scores.grad[:, 1:] > 0).all()


def test_gradient_of_the_anchors_is_that_of_differences():
    bank, samples = unit_vectors(20, seed=1), drawn()

    def loss(anchors):
        scores = contrast_scores(anchors, bank, samples)
        return contrastive_loss(scores, temperature=TAU, n_data=20, log_partition=0.0)

    assert torch.autograd.gradcheck(loss, unit_vectors(3).requires_grad_())


@settings(deadline=None)
@given(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32), st.sampled_from([0.001, 0.07, 1.0]))
def test_loss_and_gradient_are_finite_for_any_cosine(positive, negative, temperature):
    """At τ .001 the exponentials of the authors' form overflow float32."""
    scores = torch.tensor([[positive, negative, negative]], requires_grad=True)
    loss = contrastive_loss(scores, temperature=temperature, n_data=50_000, log_partition=0.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert loss >= 0
    assert torch.isfinite(scores.grad).all()


def test_rows_move_towards_the_embeddings_and_stay_on_the_sphere():
    rows, embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    result = momentum_update(rows, embeddings, 0.5)
    torch.testing.assert_close(result, torch.tensor([[math.sqrt(0.5), math.sqrt(0.5)], [0.0, 1.0]]))
    assert torch.equal(rows, torch.tensor([[1.0, 0.0], [0.0, 1.0]])), "the update is a new tensor"


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 1.0])
def test_update_weighs_the_row_by_the_momentum(momentum):
    rows, embeddings = unit_vectors(4), unit_vectors(4, seed=1).requires_grad_()
    result = momentum_update(rows, embeddings, momentum)
    for new, old, embedding in zip(result, rows.numpy(), embeddings.detach().numpy(), strict=True):
        moved = momentum * old + (1 - momentum) * embedding
        np.testing.assert_allclose(new, moved / np.linalg.norm(moved), rtol=1e-12)
    assert not result.requires_grad


def test_bfloat16_embeddings_count_as_float32_under_autocast():
    """Autocast would take the inner products in bfloat16, whose error τ multiplies by 14."""
    anchors, bank, samples = unit_vectors(3).bfloat16(), unit_vectors(20, seed=1).float(), drawn()
    with torch.autocast("cpu", torch.bfloat16):
        scores = contrast_scores(anchors, bank, samples)
        moved = momentum_update(bank[:3], anchors, 0.5)
    torch.testing.assert_close(scores, contrast_scores(anchors.float(), bank, samples), rtol=0, atol=0)
    torch.testing.assert_close(moved, momentum_update(bank[:3], anchors.float(), 0.5), rtol=0, atol=0)
