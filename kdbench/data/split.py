"""Cutting a set in two, class by class, the same way on every machine and with every version."""

import numpy as np
import numpy.typing as npt

from kdbench.data.dataset import Indices, Labels, Split
from kdbench.errors import InputError


def stratified(labels: Labels, share: float, seed: int) -> tuple[Indices, Indices]:
    """Return the positions that stay and those that are cut off: disjoint, complete, each ascending.

    Of a class with n samples `share`·n, rounded half up, are cut off, but at least one and at most n − 1; a class
    of a single sample stays. The choice depends on `labels`, `share` and `seed` alone.
    """
    assert 0 < share < 1, share
    # Raw words of a bit generator: numpy promises never to change that stream, unlike Generator.permutation (NEP 19).
    words: npt.NDArray[np.uint64] = np.random.PCG64(seed % 2**64).random_raw(len(labels))
    # By class, and in random order inside each.
    order = np.lexsort((words, labels))
    _, counts = np.unique(labels, return_counts=True)
    cut_counts = np.clip(np.floor(share * counts + 0.5).astype(np.int64), np.minimum(1, counts - 1), counts - 1)
    rank_in_class = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    is_cut = rank_in_class < np.repeat(cut_counts, counts)
    return np.sort(order[~is_cut]), np.sort(order[is_cut])


def cut_validation(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Cut a validation part of `share` off `split`, by class; return what is left for training, and the part.

    Raises InputError when `share` is no proper share, or no class has two samples to be shared out.
    """
    if not 0 < share < 1:
        raise InputError(f"the validation share is {share}", "choose data.validation between 0 and 1")
    training, validation = stratified(split.labels, share, seed)
    if len(validation) == 0:
        raise InputError(
            f"no validation part can be cut off {len(split)} samples: no class has two",
            "give at least two training images of a class",
        )
    return split.subset(training), split.subset(validation)
