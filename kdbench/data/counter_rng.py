"""Counter-based random numbers: a random word for every (key, sample), independent of the order of draws.

With a sequential generator every draw depends on those before it. Here the draw of a sample in an epoch is a hash of
seed, epoch and the sample's number, so it can be repeated for one sample, or for all, at any time.
"""

import numpy as np
import numpy.typing as npt

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
