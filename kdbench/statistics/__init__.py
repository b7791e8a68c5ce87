"""Point estimates with intervals that cover: shares, means, latency quantiles over sessions, paired ratios.

The sampling unit of a latency is the session (a fresh process): sessions differ by more than calls within one do,
so intervals widen with the spread between sessions and their degrees of freedom are sessions - 1. The tests draw
from processes with known truth and count how often each interval holds it; `benchmarks/coverage_simulated.py` prints
the whole table.

What no interval can hold is a machine that is another one an hour later: sessions that follow each other within
seconds are alike, and the interval of a single latency speaks for the machine as it was then. A ratio from paired
blocks depends on it far less, and `few_sessions.RESOLUTION` allows for that.
"""

from kdbench.statistics.clustered import Clustered, clustered_mean, clustered_quantiles, session_spread
from kdbench.statistics.estimates import (
    LEVEL,
    Estimate,
    mean,
    median,
    order_statistic,
    rate,
    relative_width,
    samples_needed,
)
from kdbench.statistics.few_sessions import PLAIN, Plan
from kdbench.statistics.paired import paired_ratio
from kdbench.statistics.shares import binomial_share, paired_share_difference

__all__ = [
    "LEVEL",
    "PLAIN",
    "Clustered",
    "Estimate",
    "Plan",
    "binomial_share",
    "clustered_mean",
    "clustered_quantiles",
    "mean",
    "median",
    "order_statistic",
    "paired_ratio",
    "paired_share_difference",
    "rate",
    "relative_width",
    "samples_needed",
    "session_spread",
]
