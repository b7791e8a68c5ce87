"""Processes with known truth, drawn as kdbench samples a machine: sessions of two models in alternating blocks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics

BLOCKS, CALLS = 12, 4  # a session's rounds, and each model's calls in one
FIRST_SESSIONS, MAX_SESSIONS = 8, 20  # sessions of a run that stops when its ratio is known
SHARES = (0.5, 0.9, 0.95)
STATISTICS = ("ratio", "p50", "p90", "p95", "mean")  # the rate is the mean's inverse, and so is its interval
_MU = 10.0
_TRUTH_DRAWS = 4000

Times = NDArray[np.float64]
"""Log times of runs, (draws, 2 models, sessions, BLOCKS, CALLS)."""


@dataclass(frozen=True)
class Process:
    """A process that draws the logarithms of call times; deviations are of the logarithm, 0.05 is about 5 %.

    `machine` is the deviation of a session, common to both models; `placement` is a model's own deviation in a session,
    from its place in memory. The common deviations of consecutive sessions have the correlation `alike`; a share `felt`
    of them applies to the second model. Sessions take turns on `cores`; a model's own deviations of consecutive
    sessions on one core have the correlation `stays`. With probability `slow`, a whole session of a model is slower by
    `slower`. `walk` is the step of a random walk from round to round through the whole run, `slope` the drift over all
    sessions; both are common to the models. With either, times have no long-run distribution, but their ratio has.
    """

    name: str
    machine: float = 0.05
    placement: float = 0.02
    alike: float = 0.0
    felt: float = 1.0
    cores: int = 1
    stays: float = 0.0
    slow: float = 0.0
    slower: float = 0.15
    walk: float = 0.0
    slope: float = 0.0
    calls_alike: float = 0.0
    outliers: float = 0.0  # of calls, each 2 to 10 times as long
    heavy_tails: bool = False

    @property
    def has_long_run(self) -> bool:
        """Whether the times of a model, and not only the ratio of two, have a long-run distribution."""
        return not (self.walk or self.slope)

    def draw(self, rng: np.random.Generator, draws: int, sessions: int) -> Times:
        """Return `draws` runs."""
        per_session = (draws, 2, sessions, 1, 1)
        state = self.machine * _series(rng.standard_normal((draws, 1, sessions)), self.alike)[..., None, None]
        drift = self.walk * rng.standard_normal((draws, 1, sessions * BLOCKS)).cumsum(axis=2)
        drift += self.slope * np.linspace(-0.5, 0.5, sessions * BLOCKS)
        state = state + drift.reshape(draws, 1, sessions, BLOCKS, 1)
        times = state * np.array([1.0, self.felt])[:, None, None, None]
        placements = rng.standard_normal((draws, 2, sessions))
        for core in range(self.cores):
            placements[..., core :: self.cores] = _series(placements[..., core :: self.cores], self.stays)
        slowed = self.slower * (rng.random(per_session) < self.slow)
        times = times + self.placement * placements[..., None, None] + slowed
        shape = (draws, 2, sessions, BLOCKS * CALLS)
        noise = rng.standard_t(3, shape) if self.heavy_tails else rng.standard_normal(shape)
        noise = 0.03 * _series(noise, self.calls_alike)
        if self.outliers:
            noise += (rng.random(shape) < self.outliers) * np.log(rng.uniform(2, 10, shape))
        else:  # the same random numbers follow
            rng.bit_generator.advance(2 * noise.size)  # type: ignore[attr-defined]
        return _MU + times + noise.reshape(draws, 2, sessions, BLOCKS, CALLS) + np.log([3.0, 1.0])[:, None, None, None]


PLAIN = Process("plain")
PROCESSES = (
    PLAIN,
    Process("sessions equal except for chance", machine=0.0, placement=0.0),
    Process("random walk", walk=0.01),
    Process("linear drift of 20 %", slope=0.2),
    Process("calls AR(1) 0.9", calls_alike=0.9),
    Process("calls ×2 to ×10, 2 %", outliers=0.02),
    Process("heavy tails", heavy_tails=True),
    Process("bad sessions, 5 %", slow=0.05, slower=0.2),
    Process("bimodal sessions, 20 %", slow=0.2),
    Process("bimodal sessions, 35 %", slow=0.35),
    Process("bimodal sessions, 50 %", slow=0.5),
    Process("sessions AR(1) 0.3", alike=0.3),
    Process("sessions AR(1) 0.5", alike=0.5),
    Process("sessions AR(1) 0.8", alike=0.8),
    Process("sessions AR(1) 0.5, felt by half", alike=0.5, felt=0.5),
    Process("AR(1) 0.5 on each of 3 cores", placement=0.05, cores=3, stays=0.5),
    Process("AR(1) 0.7 on each of 3 cores", placement=0.05, cores=3, stays=0.7),
)


@dataclass(frozen=True)
class Coverage:
    """How often an interval contained the truth, and its median width as a share of the value."""

    held: float
    width: float


def coverage(
    process: Process, sessions: int | None, draws: int, seed: int = 0, *, truth_draws: int = _TRUTH_DRAWS
) -> dict[str, Coverage]:
    """Return the coverage of each of STATISTICS over `draws` runs of so many sessions.

    The truth comes from `truth_draws` runs: with a thousand, its own error is a thirtieth of a run's.

    None: of FIRST_SESSIONS sessions, and of more up to MAX_SESSIONS until the ratio's interval is narrower than a
    precision that half of the runs reach with seven sessions, where chance affects stopping most.
    """
    rng = np.random.default_rng([seed, sessions or 0])
    truth = true_values(process.draw(rng, truth_draws, sessions or MAX_SESSIONS))
    runs = process.draw(rng, draws, sessions or MAX_SESSIONS)
    plan = statistics.Plan(FIRST_SESSIONS if sessions is None else None, process.cores)
    if sessions is None:
        rounds = _rounds(runs)
        precision = float(np.median([statistics.relative_width(_ratio(run[:7], plan)) for run in rounds]))
        runs = [run[:, : _stop(so_far, precision, plan)] for run, so_far in zip(runs, rounds, strict=True)]
    results = [estimates(run, plan, process.has_long_run) for run in runs]
    return {
        statistic: Coverage(
            held=float(np.mean([e[row].low <= truth[row] <= e[row].high for e in results])),
            width=float(np.median([statistics.relative_width(e[row]) for e in results])),
        )
        for row, statistic in enumerate(STATISTICS)
        if statistic == "ratio" or process.has_long_run
    }


def true_values(times: Times) -> list[float]:
    """Return what each of STATISTICS is over all runs."""
    rounds = np.median(times, axis=-1)
    ratio = np.exp(np.median(rounds[:, 0] - rounds[:, 1], axis=-1).mean())
    first = np.exp(times[:, 0])
    return [float(ratio), *np.quantile(first, SHARES), float(first.mean())]


def estimates(run: NDArray[np.float64], plan: statistics.Plan, has_long_run: bool) -> list[statistics.Estimate]:
    """Return each of STATISTICS of one run, or the ratio alone."""
    ratio = _ratio(_rounds(run), plan)
    if not has_long_run:
        return [ratio]
    sessions = run.shape[1]
    data = statistics.Clustered(
        values=np.exp(run[0]).ravel(),
        session=np.repeat(np.arange(sessions), BLOCKS * CALLS),
        block=np.tile(np.repeat(np.arange(BLOCKS), CALLS), sessions),
    )
    quantiles = statistics.clustered_quantiles(data, SHARES, plan=plan)
    return [ratio, *quantiles, statistics.clustered_mean(data, plan=plan)]


def _series(noise: NDArray[np.float64], rho: float) -> NDArray[np.float64]:
    """Return an AR(1) series along the last axis with the marginal distribution that `noise` has, if it is normal."""
    if rho == 0:
        return noise
    series = noise.copy()
    for t in range(1, noise.shape[-1]):
        series[..., t] = rho * series[..., t - 1] + np.sqrt(1 - rho**2) * noise[..., t]
    return series


def _rounds(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log ratio of each round, (…, sessions, BLOCKS), of times (…, 2 models, sessions, BLOCKS, CALLS)."""
    medians = np.median(times, axis=-1)
    return medians[..., 0, :, :] - medians[..., 1, :, :]


def _ratio(rounds: NDArray[np.float64], plan: statistics.Plan) -> statistics.Estimate:
    return statistics.paired_ratio(list(rounds), plan=plan)


def _stop(rounds: NDArray[np.float64], precision: float, plan: statistics.Plan) -> int:
    """Return after how many sessions a run stops."""
    widths = (statistics.relative_width(_ratio(rounds[:count], plan)) for count in range(FIRST_SESSIONS, MAX_SESSIONS))
    return next((count for count, width in enumerate(widths, FIRST_SESSIONS) if width < precision), MAX_SESSIONS)
