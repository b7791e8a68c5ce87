"""Shares of a test set, and differences of two shares over the same samples."""

import math

from kdbench.statistics.estimates import Estimate, normal_z


def binomial_share(successes: int, n: int) -> Estimate:
    """Return the share `successes / n` with Wilson's score interval (Wilson 1927)."""
    z = normal_z()
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Estimate(share, max(min(centre - half, share), 0.0), min(max(centre + half, share), 1.0), n)


def paired_share_difference(only_first: int, only_second: int, n: int) -> Estimate:
    """Return the difference of two shares over the same `n` samples: (only_first - only_second) / n.

    `only_first` counts the samples on which the first succeeds and the second does not. The interval is the
    adjusted Wald of Bonett and Price (2012), which holds its level for few discordant samples too.
    """
    z = normal_z()
    first, second = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    half = z * math.sqrt((first + second - (first - second) ** 2) / (n + 2))
    low, high = first - second - half, first - second + half
    return Estimate((only_first - only_second) / n, max(low, -1.0), min(high, 1.0), n)
