"""Logits drawn by a seed, and those of a published example."""

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

TEMPERATURES = (0.5, 1.0, 4.0, 20.0)


def logits(bound):
    """Two batches of three samples and five classes."""
    numbers = st.floats(-bound, bound, width=32)
    return arrays.arrays(np.float32, (2, 3, 5), elements=numbers).map(torch.from_numpy)


def random_logits(seed=0, shape=(7, 11)):
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Ahad, "Knowledge Distillation Techniques", task 2: KL in nats at temperature 1, population std. The wrong student
# ranks another class first but lies near the teacher; the right one has a tenth of the teacher's logits.
FOUR = {"teacher": [1, 4, 3, 2], "wrong": [1, 2.8, 3, 2], "right": [0.1, 0.4, 0.3, 0.2]}
TEN = {
    "teacher": [1, 4, 0.5, 1.5, 7, 2, 2.5, 3, 3.5, 4.5],
    "wrong": [1.1, 4.2, 0.6, 1.6, 6.8, 2.1, 2.6, 3.1, 3.6, 7.5],
    "right": [0.1, 0.4, 0.05, 0.15, 0.7, 0.2, 0.25, 0.3, 0.35, 0.45],
}


def row(values):
    return torch.tensor([values], dtype=torch.float32)


def networks(count=3, batch=4, classes=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return list(2 * torch.randn(count, batch, classes, generator=generator, dtype=torch.float64))
