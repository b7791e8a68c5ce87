"""Point estimates with 95 % confidence intervals: shares, means, latency quantiles over sessions, paired ratios.

The sampling unit of a latency is the session (a fresh process), because sessions differ by more than calls within one.
Intervals therefore reflect the spread between sessions, with sessions - 1 degrees of freedom. The tests draw from
simulated sessions with a known true value and count how often the intervals contain it;
`benchmarks/coverage_simulated.py` prints the whole table.

Sessions that follow each other within seconds do not show how a machine changes within an hour. `runs` therefore widens
the interval of a single latency by the variation between runs. A ratio from paired blocks depends far less on the
machine; for it, `few_sessions.RESOLUTION` is enough.

Pure functions on arrays belong here; they import `numpy`, and nothing of kdbench: devices have no scipy. `results`,
`evaluate`, `measure`, `judge` and `report` import them.
"""

from kdbench.statistics.clustered import (
    Clustered,
    clustered_mean,
    clustered_quantiles,
    paired_ratio,
    session_spread,
    undisturbed,
)
from kdbench.statistics.errors import determination, positive_mean, root_mean, root_mean_ratio
from kdbench.statistics.estimates import (
    LEVEL,
    Estimate,
    binomial_share,
    exact_share,
    in_points,
    mean,
    mean_of_shares,
    mean_over_trainings,
    median,
    prediction,
    rate,
    relative_width,
    samples_needed,
    within,
)
from kdbench.statistics.few_sessions import PLAIN, Plan
from kdbench.statistics.paired import largest_paired_difference, mcnemar, p_of_dependent_tests, paired_share_difference
from kdbench.statistics.runs import RunSpread, across_runs, run_spread

__all__ = [
    "LEVEL",
    "PLAIN",
    "Clustered",
    "Estimate",
    "Plan",
    "RunSpread",
    "across_runs",
    "binomial_share",
    "clustered_mean",
    "clustered_quantiles",
    "determination",
    "exact_share",
    "in_points",
    "largest_paired_difference",
    "mcnemar",
    "mean",
    "mean_of_shares",
    "mean_over_trainings",
    "median",
    "p_of_dependent_tests",
    "paired_ratio",
    "paired_share_difference",
    "positive_mean",
    "prediction",
    "rate",
    "relative_width",
    "root_mean",
    "root_mean_ratio",
    "run_spread",
    "samples_needed",
    "session_spread",
    "undisturbed",
    "within",
]
