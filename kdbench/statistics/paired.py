"""Two successes or failures of each sample: the difference of their shares, in classes too, and McNemar's test.

Only discordant samples, on which exactly one of the two is correct, distinguish the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kdbench.statistics.estimates import LEVEL, Estimate
from kdbench.statistics.special import binomial_cdf, normal_quantile


def paired_share_difference(only_first: int, only_second: int, n: int, *, level: float = LEVEL) -> Estimate:
    """Return the difference of two shares over the same `n` samples: (only_first - only_second) / n.

    `only_first` counts the samples on which the first succeeds and the second does not. The interval, at `level`, is
    the adjusted Wald of Bonett and Price (2012), which holds its level for few discordant samples too.
    """
    z = normal_quantile((1 + level) / 2)
    first, second = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    half = z * math.sqrt((first + second - (first - second) ** 2) / (n + 2))
    low, high = first - second - half, first - second + half
    return Estimate((only_first - only_second) / n, max(low, -1.0), min(high, 1.0), n)


def largest_paired_difference(
    only_first: NDArray[np.integer], only_second: NDArray[np.integer], totals: NDArray[np.integer]
) -> tuple[int, Estimate]:
    """Return which of K groups of samples has the largest difference of two shares, and that difference.

    The arguments are (K,), as for `paired_share_difference`, and every group has samples; of equal differences the
    first counts. The largest of several differences is partly chance, so the interval is corrected for the choice among
    K (Bonferroni). Its low end is below the true difference of that group, and no group's true difference exceeds its
    high end. `n` is the number of samples of that group.
    """
    level = 1 - (1 - LEVEL) / len(totals)
    groups = [
        paired_share_difference(int(first), int(second), int(n), level=level)
        for first, second, n in zip(only_first, only_second, totals)
    ]
    place = max(range(len(groups)), key=lambda k: groups[k].value)
    largest = groups[place]
    high = max(group.high for group in groups if group.high is not None)
    return place, Estimate(largest.value, largest.low, high, largest.n)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided mid-p value of McNemar's exact test that both succeed equally often.

    If they do, each count of the n discordant samples is of Binomial(n, 1/2), and with the smaller count k
    p = 2 P(X <= k) - P(X = k). Without the second term the test is too cautious; the one by chi-squared needs many
    discordant samples (Fagerland, Lydersen and Laake 2013). 1 without any.
    """
    k, n = min(only_first, only_second), only_first + only_second
    below = binomial_cdf(k - 1, n, 0.5)
    return min(binomial_cdf(k, n, 0.5) + below, 1.0)


def p_of_dependent_tests(values: Sequence[float]) -> float:
    """Return a p-value that several tests of one sample have together: twice their mean, at most 1.

    It holds however the tests depend on each other (Vovk and Wang 2020).
    """
    return min(2 * math.fsum(values) / len(values), 1.0)
