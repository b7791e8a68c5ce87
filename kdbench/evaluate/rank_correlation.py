"""Spearman's rank correlation, row by row: whether two models order the classes alike."""

import numpy as np
from numpy.typing import NDArray


def spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rho of each row of two arrays (N, C), (N,): Pearson's correlation of their ranks.

    Ties have the average of their ranks. NaN where a row's values are all equal: they have no order.
    """
    ranks = [_centred(average_ranks(values)) for values in (one, other)]
    products = (ranks[0] * ranks[1]).sum(axis=1)
    squares = [(each**2).sum(axis=1) for each in ranks]
    scale = np.sqrt(squares[0] * squares[1])
    rhos: NDArray[np.float64] = np.divide(products, scale, out=np.full(len(products), np.nan), where=scale > 0)
    return rhos


def average_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks from 1, the smallest first, of each row of `values` (N, C); ties share their average."""
    n, columns = values.shape
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    begins = np.ones((n, columns), dtype=bool)  # whether a value is the first of its ties, which follow each other
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    tie = np.cumsum(begins.ravel()) - 1  # rows begin a tie of their own, so ties of two rows never mix
    places = np.tile(np.arange(1, columns + 1), n)
    averages = np.bincount(tie, weights=places) / np.bincount(tie)
    ranks = np.empty((n, columns))
    np.put_along_axis(ranks, order, averages[tie].reshape(n, columns), axis=1)
    return ranks


def _centred(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    centred: NDArray[np.float64] = ranks - (ranks.shape[1] + 1) / 2
    return centred
