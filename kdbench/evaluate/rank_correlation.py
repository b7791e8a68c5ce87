"""Spearman's rank correlation, row by row: whether two models order the classes alike."""

import numpy as np
from numpy.typing import NDArray


def spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rho of each row of two arrays (N, C), (N,): Pearson's correlation of their ranks.

    Ties have the average of their ranks. NaN where a row's values are all equal: they have no order.
    """
    from scipy.stats import rankdata

    mean = (one.shape[1] + 1) / 2
    ranks = [rankdata(values, axis=1) - mean for values in (one, other)]
    products = (ranks[0] * ranks[1]).sum(axis=1)
    squares = [(centred**2).sum(axis=1) for centred in ranks]
    scale = np.sqrt(squares[0] * squares[1])
    rhos: NDArray[np.float64] = np.divide(products, scale, out=np.full(len(products), np.nan), where=scale > 0)
    return rhos
