"""Parts of a training set: the first of each class, some at random, one of two halves."""

import numpy as np

from kdbench.data.counter import key_of, words
from kdbench.data.dataset import Indices, Split
from kdbench.data.split import stratified
from kdbench.errors import InputError


def first_per_class(split: Split, count: int) -> Indices:
    """Return the positions of the first `count` samples of each class, ascending; raises InputError for too few."""
    order = np.argsort(split.labels, kind="stable")
    classes, counts = np.unique(split.labels, return_counts=True)
    if counts.min() < count:
        fewest = classes[counts.argmin()]
        raise InputError(
            f"data.subset: class {fewest} has {counts.min()} training images, fewer than first_per_class = {count}",
            "the validation part is cut off before: choose fewer, or a smaller data.validation",
        )
    rank = np.arange(len(split)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[rank < count])


def at_random(split: Split, count: int, seed: int) -> Indices:
    """Return `count` positions, ascending, every sample being equally likely; a larger count holds a smaller one."""
    if count > len(split):
        raise InputError(f"data.subset.random is {count}, but there are {len(split)} training images")
    return np.sort(np.argsort(words(key_of(seed, 2), split.samples), kind="stable")[:count])


def half(split: Split, which: str, seed: int) -> Indices:
    """Return the positions of `D0` or `D1`: disjoint, together everything, equal shares of every class."""
    first, second = stratified(split.labels, 0.5, seed)
    return first if which == "D0" else second
