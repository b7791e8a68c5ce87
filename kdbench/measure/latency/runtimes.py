"""The ratio of a model's times in two runtimes.

Each session has a process for each runtime, one after the other on the same cores. Rounds of two processes are not
pairs, so a session has one ratio, and its interval is that over sessions.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from kdbench import statistics
from kdbench.measure.latency.configurations import Configuration
from kdbench.measure.timed import TimedModel, TimingConfig, timed_runtimes
from kdbench.results.findings import estimated
from kdbench.results.records import Measurement, missing
from kdbench.statistics import Clustered, Estimate, Plan

METRIC = "runtime_ratio"
Samples = Mapping[tuple[str, int], Clustered]
"""The times of a model's calls, by its id and the configuration's number."""


def paired_configurations(
    configurations: Sequence[Configuration], config: TimingConfig
) -> Iterator[tuple[Configuration, Configuration]]:
    """Yield pairs of the same configuration in the first configured runtime and in another one.

    Waits for random arrivals are left out: they depend on chance more than on the runtime.
    """
    first = next(iter(timed_runtimes(config)), "")
    base = {_settings(c): c for c in configurations if c.runtime == first}
    for other in configurations:
        if other.runtime != first and other.mode != "server" and _settings(other) in base:
            yield base[_settings(other)], other


def ratio_axes(base: Configuration, other: Configuration, provider: str) -> dict[str, str | int]:
    """Return the axes of the ratio: those of `other`, and at `beside` the runtime that it is compared with."""
    return {**other.axes(provider), "beside": base.runtime}


def runtime_ratios(
    models: Sequence[TimedModel],
    configurations: Sequence[Configuration],
    samples: Samples,
    plan: Plan,
    config: TimingConfig,
) -> Iterator[Measurement]:
    """Yield the ratio of every model that both configurations of a pair called, or why there is none."""
    for base, other in paired_configurations(configurations, config):
        axes = ratio_axes(base, other, config.provider)
        for index, model in enumerate(models):
            if index not in other.models:
                continue
            estimate = _ratio(samples, model.id, base.number, other.number, plan)
            if estimate is not None:
                source = f"{base.runtime} and {other.runtime} in turn, one process each in {estimate.n} sessions"
                yield estimated(model.id, METRIC, estimate, axes=axes, source=source)
            else:
                refusal = model.refusal_in(base.runtime)
                why = refusal.reason if refusal else "a process failed"
                yield missing(model.id, METRIC, f"no time in both runtimes: {why}", axes=axes)


def _ratio(samples: Samples, model: str, base: int, other: int, plan: Plan) -> Estimate | None:
    """Return the time in configuration `base` over that in `other`; None where a model has no samples in both."""
    if (model, base) not in samples or (model, other) not in samples:
        return None
    base_logs, other_logs = (_log_medians(statistics.undisturbed(samples[model, n])) for n in (base, other))
    sessions = sorted(base_logs.keys() & other_logs.keys())
    ratios = [np.array([base_logs[session] - other_logs[session]]) for session in sessions]
    return statistics.paired_ratio(ratios, plan=plan) if ratios else None


def _log_medians(data: Clustered) -> dict[int, float]:
    """Return the logarithm of the median time of each session."""
    return {int(s): float(np.log(np.median(data.values[data.session == s]))) for s in np.unique(data.session)}


def _settings(c: Configuration) -> tuple[object, ...]:
    """Return everything that determines how a configuration calls models, except its runtime."""
    return c.threads, c.batch, c.mode, c.gap_ms, c.rate_per_s
