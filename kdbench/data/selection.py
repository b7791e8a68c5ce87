"""Reproducible random choices: the validation part, subsets, wrong or noisy labels, and keyed random numbers.

With a sequential generator every draw depends on earlier ones. Here the random number of a sample in an epoch is a hash
of seed, epoch and the sample's number. It can be repeated for one sample, or for all, at any time.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from kdbench.data.dataset import Indices, Labels, Split, Targets
from kdbench.errors import InputError

Words = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def key_of(*numbers: int) -> int:
    """Mix whole numbers, such as a seed and an epoch, into 64 bits; neighbouring numbers give unrelated keys."""
    words = np.random.SeedSequence([number % 2**64 for number in numbers]).generate_state(1, np.uint64)
    return int(words[0])


def words(key: int, samples: npt.NDArray[np.integer]) -> Words:
    """Return 64 random bits for each of `samples` (N,), by SplitMix64 (Steele, Lea, Flood 2014) at that counter."""
    with np.errstate(over="ignore"):
        z = np.uint64(key) + (samples.astype(np.uint64) + np.uint64(1)) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def below(limit: int, bits: Words) -> npt.NDArray[np.int64]:
    """Return whole numbers in 0..limit − 1 from random words; their probabilities differ by less than limit / 2^53."""
    return ((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53 * limit).astype(np.int64)


def uniform(bits: Words) -> npt.NDArray[np.float64]:
    """Return numbers between 0 and 1, neither of them included, from random words."""
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal(bits: Words, more_bits: Words) -> npt.NDArray[np.float64]:
    """Return standard normal numbers from two independent random words each (Box & Muller 1958)."""
    radius = np.sqrt(-2 * np.log(uniform(bits)))
    return np.asarray(radius * np.cos(2 * np.pi * ((more_bits >> np.uint64(11)).astype(np.float64) * 2.0**-53)))


def normals(key: int, samples: npt.NDArray[np.integer], count: int) -> npt.NDArray[np.float64]:
    """Return `count` standard normal numbers for each of `samples` (N,), as (N, count)."""
    keys = [(key_of(key, component, 0), key_of(key, component, 1)) for component in range(count)]
    return np.stack([normal(words(first, samples), words(second, samples)) for first, second in keys], axis=1)


def stratified(labels: npt.NDArray[Any], share: float, seed: int) -> tuple[Indices, Indices]:
    """Return the remaining and the split-off positions: disjoint, complete, each ascending.

    Of a class with n samples, `share`·n rounded half up are split off, but at least one and at most n − 1; a class of
    one sample remains. Targets (N, D), which have no classes, are treated as one class. The choice depends only on
    `labels`, `share` and `seed`.
    """
    assert 0 < share < 1, share
    labels = labels if labels.ndim == 1 else np.zeros(len(labels), dtype=np.int64)
    # Raw words of a bit generator, because numpy guarantees their stream, unlike Generator.permutation (NEP 19).
    raw: npt.NDArray[np.uint64] = np.random.PCG64(seed % 2**64).random_raw(len(labels))
    # By class, in random order inside each class.
    order = np.lexsort((raw, labels))
    _, counts = np.unique(labels, return_counts=True)
    cut_counts = np.clip(np.floor(share * counts + 0.5).astype(np.int64), np.minimum(1, counts - 1), counts - 1)
    rank_in_class = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    is_cut = rank_in_class < np.repeat(cut_counts, counts)
    return np.sort(order[~is_cut]), np.sort(order[is_cut])


def cut_validation(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Split a validation part of `share` off `split`, by class if there are any; return the rest, and the part.

    Raises InputError if `share` is not between 0 and 1, or no class has two samples.
    """
    if not 0 < share < 1:
        raise InputError(f"the validation share is {share}", "choose data.validation between 0 and 1")
    training, validation = stratified(split.labels, share, seed)
    if len(validation) == 0:
        message = f"{len(split)} samples cannot be split into training and validation: no class has two"
        raise InputError(message, "give at least two training images of a class")
    return split.subset(training), split.subset(validation)


def first_per_class(split: Split, count: int) -> Indices:
    """Return the positions of the first `count` samples of each class, ascending; raises InputError for too few."""
    order = np.argsort(split.labels, kind="stable")
    classes, counts = np.unique(split.labels, return_counts=True)
    if counts.min() < count:
        fewest = f"class {classes[counts.argmin()]} has {counts.min()} training images"
        hint = "the validation part is split off first: choose fewer images, or a smaller data.validation"
        raise InputError(f"data.subset: {fewest}, fewer than first_per_class = {count}", hint)
    rank = np.arange(len(split)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[rank < count])


def at_random(split: Split, count: int, seed: int) -> Indices:
    """Return `count` random positions, ascending; a larger count with the same seed includes a smaller one."""
    if count > len(split):
        raise InputError(f"data.subset.random is {count}, but there are {len(split)} training images")
    return np.sort(np.argsort(words(key_of(seed, 2), split.samples), kind="stable")[:count])


def half(split: Split, which: str, seed: int) -> Indices:
    """Return the positions of half `D0` or `D1`: disjoint, complete, with equal shares of every class."""
    first, second = stratified(split.labels, 0.5, seed)
    return first if which == "D0" else second


def flip_labels(
    labels: Labels, samples: Labels, classes: int, *, share: float = 0.0, count: int | None = None, seed: int = 0
) -> tuple[Labels, Indices]:
    """Return the labels, of which `count` or a `share` are wrong, and the positions of the wrong ones, ascending.

    Every other class is equally likely (symmetric noise). The choice depends on the numbers of the `samples` (N,), so
    with one seed a larger share includes a smaller one. Raises InputError for more wrong labels than samples.
    """
    wrong = int(share * len(labels) + 0.5) if count is None else count
    if wrong > len(labels):
        raise InputError(f"label_noise.count is {wrong}, but there are {len(labels)} training images")
    if wrong and classes < 2:
        raise InputError("label noise needs a second class", "leave data.label_noise out")
    order = np.argsort(words(key_of(seed, 0), samples), kind="stable")
    flipped = np.sort(order[:wrong])
    away = 1 + below(classes - 1, words(key_of(seed, 1), samples[flipped]))
    noisy = labels.copy()
    noisy[flipped] = (labels[flipped] + away) % classes
    return noisy, flipped


def noisy_targets(targets: Targets, samples: Labels, *, std: float, seed: int = 0) -> Targets:
    """Return `targets` (N, D) plus Gaussian noise of standard deviation `std`, float32.

    The noise depends on the numbers of the `samples` (N,), so with one seed a larger `std` scales the same draws.
    """
    noise = std * normals(key_of(seed, 4), samples, targets.shape[1])
    return (targets + noise).astype(np.float32)
