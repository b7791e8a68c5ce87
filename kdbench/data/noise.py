"""Wrong labels on purpose: which samples, and what they are called instead, the same on every machine."""

import numpy as np

from kdbench.data.counter import below, key_of, words
from kdbench.data.dataset import Indices, Labels
from kdbench.errors import InputError


def flip_labels(
    labels: Labels, samples: Labels, classes: int, *, share: float = 0.0, count: int | None = None, seed: int = 0
) -> tuple[Labels, Indices]:
    """Return the labels with `count`, or a `share`, of them wrong, and the positions of those, ascending.

    Of the other classes each is equally likely (symmetric noise). The choice depends on the numbers of the `samples`
    (N,), so that of two shares with one seed the larger holds the smaller. Raises InputError for more than there are.
    """
    wanted = int(share * len(labels) + 0.5) if count is None else count
    if wanted > len(labels):
        raise InputError(f"label_noise.count is {wanted}, but there are {len(labels)} training images")
    if wanted and classes < 2:
        raise InputError("label noise needs a second class", "leave data.label_noise out")
    order = np.argsort(words(key_of(seed, 0), samples), kind="stable")
    flipped = np.sort(order[:wanted])
    away = 1 + below(classes - 1, words(key_of(seed, 1), samples[flipped]))
    noisy = labels.copy()
    noisy[flipped] = (labels[flipped] + away) % classes
    return noisy, flipped
