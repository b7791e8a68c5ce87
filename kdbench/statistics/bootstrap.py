"""The hierarchical bootstrap: sessions drawn with replacement, then blocks within each, as weights of blocks."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DRAWS = 400  # the standard error of a standard error from 400 draws is 3.5 %
_TABLE = 1 << 22  # elements of the largest table of counts


def drawn_weights(
    sessions: NDArray[np.int64], among: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how often each block is drawn, twice (DRAWS, blocks): sessions, then blocks; and blocks alone.

    `sessions` is each block's session, numbered from 0; the first `among` of them are drawn from, and the blocks of
    the others weigh nothing. A session drawn c times gives c x its number of blocks, drawn from that session; drawing
    blocks alone takes every session once.
    """
    times = rng.multinomial(among, np.full(among, 1 / among), size=DRAWS)
    return _of_blocks(sessions, times, rng), _of_blocks(sessions, np.ones_like(times), rng)


def _of_blocks(sessions: NDArray[np.int64], times: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return how often each block is drawn, (DRAWS, blocks), when each session is drawn `times` (DRAWS, sessions)."""
    weights = np.zeros((DRAWS, len(sessions)))
    for session, drawn in enumerate(times.T):
        blocks = np.flatnonzero(sessions == session)
        rows = np.repeat(np.arange(DRAWS), drawn * len(blocks))
        cells = rows * len(blocks) + rng.integers(len(blocks), size=len(rows))
        weights[:, blocks] = np.bincount(cells, minlength=DRAWS * len(blocks)).reshape(DRAWS, len(blocks))
    return weights


def drawn_quantiles(
    ordered: NDArray[np.float64], block: NDArray[np.int64], weights: NDArray[np.float64], shares: Sequence[float]
) -> NDArray[np.float64]:
    """Return the order statistics at `shares` of every draw, (shares, DRAWS).

    `ordered` are all observations in rising order, `block` the block of each. Weights are added up over bins of
    neighbouring ranks first, and over single observations only within the bin that the share is reached in: work of
    DRAWS x blocks x sqrt(n) in place of DRAWS x n, and the same result.
    """
    n, blocks = len(ordered), weights.shape[1]
    width = max(math.isqrt(n), math.ceil(n * blocks / _TABLE))
    bins = math.ceil(n / width)
    counts = np.bincount(block * bins + np.arange(n) // width, minlength=blocks * bins).reshape(blocks, bins)
    reached = np.cumsum(weights @ counts.astype(np.float64), axis=1)
    draws = np.arange(len(weights))
    quantiles = np.empty((len(shares), len(weights)))
    for row, share in enumerate(shares):
        rank = np.ceil(share * reached[:, -1])
        bin_ = np.argmax(reached >= rank[:, None], axis=1)
        before = np.where(bin_ > 0, reached[draws, bin_ - 1], 0.0)
        positions = np.minimum(bin_[:, None] * width + np.arange(width), n - 1)
        within = np.cumsum(weights[draws[:, None], block[positions]], axis=1)
        quantiles[row] = ordered[positions[draws, np.argmax(within >= (rank - before)[:, None], axis=1)]]
    return quantiles
