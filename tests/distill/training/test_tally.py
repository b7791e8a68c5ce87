"""Losses and scores of an epoch."""

import gc
import math

import pytest
import torch

from kdbench.distill.training.tally import Tally


def _filled(batches: int) -> Tally:
    tally, generator = Tally(), torch.Generator().manual_seed(0)
    for number in range(batches):
        logits = torch.rand(4, 3, generator=generator)
        tally.add(
            torch.tensor(number / 7, requires_grad=True), logits, torch.tensor([0, 1, 2, 0]), 4 if number % 3 else 0
        )
    return tally


@pytest.mark.parametrize("batches", [1, 2, 1537, 3073])
def test_sums_are_those_of_the_batches_that_count(batches):
    loss, score, samples, _, _ = _filled(batches).sums()
    generator, losses, correct = torch.Generator().manual_seed(0), [], 0
    for number in range(batches):
        logits = torch.rand(4, 3, generator=generator)
        if number % 3:
            losses.append(4 * number / 7)
            correct += int((logits.argmax(dim=1) == torch.tensor([0, 1, 2, 0])).sum())
    assert samples == 4 * len(losses)
    assert loss == pytest.approx(math.fsum(losses), rel=1e-4)
    assert score == correct


def test_no_tensor_is_kept_of_a_step():
    def tensors():
        gc.collect()
        return sum(type(value).__name__ == "Tensor" for value in gc.get_objects())

    before = tensors()
    tally = _filled(600)
    assert tensors() - before <= 3  # losses, scores and class weights, each as one
    assert tally.sums()[2] == 1600
