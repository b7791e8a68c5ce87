"""Windows of energy: which sources to read, and rounds of windows of all models in one process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.measure.bench_model import BenchModel, outer_batches
from kdbench.measure.context import Context
from kdbench.measure.energy.account import QUICK_RESOLUTION, Account, MeterProfile, accounts
from kdbench.meters.choice import Choice, choose
from kdbench.meters.meter import Available, MeterStatus, Unavailable
from kdbench.recipe.measure import Measure
from kdbench.results.samples import energy_key
from kdbench.worker.jobs import EnergyJob

Run = tuple[str, int]  # a model's id and a batch


@dataclass(frozen=True)
class Mode:
    """How thoroughly energy is metered: how many windows, how long at least, over how many updates of the counter."""

    rounds: int
    least_s: float
    least_updates: int
    settle_s: float
    resolution: float


MODES = {
    "quick": Mode(rounds=5, least_s=0.5, least_updates=20, settle_s=0.1, resolution=QUICK_RESOLUTION),
    # The shape of MLPerf Tiny's energy runs: five windows of ten seconds, and their median.
    "full": Mode(rounds=5, least_s=10.0, least_updates=100, settle_s=1.0, resolution=0.0),
}


@dataclass(frozen=True)
class EnergySamples:
    """The account of each meter in each run, why a model has none, the raw windows, and facts for the protocol."""

    accounts: Mapping[Run, Sequence[Account]]
    failed: Mapping[str, str]
    samples: Mapping[str, NDArray[np.generic]]
    facts: Mapping[str, Any]


def sources_for(config: Measure) -> Choice:
    """Return the sources on this machine for the configured provider."""
    if config.energy == "off":
        return Choice(Unavailable("energy was not asked for"))
    return choose(config.provider, estimate=config.estimate_energy)


def expected_s(models: Sequence[BenchModel], config: Measure, choice: Choice) -> float:
    """Return about how many seconds the windows of `models` take."""
    if isinstance(choice.leading, Unavailable):
        return 0.0
    mode = MODES[config.energy]
    lag_s = max(status.meter.lag_s for status in choice.used)
    length_s = max(mode.least_s, mode.least_updates * choice.used[0].meter.lag_s)
    windows = len(runs_of(models, config)) * mode.rounds + mode.rounds + 1
    return windows * (length_s + mode.settle_s + lag_s)


def sample_energy(context: Context) -> EnergySamples | Unavailable:
    """Meter the windows of every ready model, or return why the leading source failed.

    A model that ends the process is left out. Raises WorkerError where no single model can be blamed.
    """
    runs = runs_of(context.ready, context.config)
    ids, failed = [model.id for model in context.ready], dict[str, str]()

    def job_for(alive: Sequence[str]) -> EnergyJob:
        return _job(context, [run for run in runs if run[0] in alive])

    threads = context.config.threads[0]
    result = context.runner.run_surviving(ids, job_for, failed, context.progress, numpy_threads=threads)
    if result is None:
        return EnergySamples({}, failed, {}, {})
    if result["fault"]:
        return Unavailable(result["fault"], "run kdbench doctor, and measure again")
    return _samples([run for run in runs if run[0] not in failed], failed, result, context)


def runs_of(models: Sequence[BenchModel], config: Measure) -> list[Run]:
    """Return every model at each of its outer batches."""
    return [(model.id, batch) for model in models for batch in outer_batches(model, config)]


def _job(context: Context, runs: Sequence[Run]) -> EnergyJob:
    config, used = context.config, context.meters.used
    mode = MODES[config.energy]
    estimated = used[0].meter.evidence != "measured"  # then it can be read at any time, and has no steps
    return EnergyJob(
        models=tuple(context.jobs[id_] for id_ in dict.fromkeys(id_ for id_, _ in runs)),
        provider=config.provider,
        threads=config.threads[0],
        runs=tuple(runs),
        sources=tuple(status.meter.name for status in used),
        rounds=mode.rounds,
        least_ns=mode.least_s * 1e9,
        least_updates=0 if estimated else mode.least_updates,
        settle_ns=mode.settle_s * 1e9,
    )


def _samples(
    runs: Sequence[Run], failed: Mapping[str, str], result: Mapping[str, Any], context: Context
) -> EnergySamples:
    config, choice = context.config, context.meters
    used = [status for status in choice.used if status.meter.name in result["sources"]]
    uncounted = [*(source.reason for source in choice.uncounted), *result["dropped"].values()]
    meters = [_meter(number, status, result) for number, status in enumerate(used)]
    mode = MODES[config.energy]
    by_run = {run: windows for run, windows in zip(runs, result["windows"], strict=True) if windows}
    samples: dict[str, NDArray[np.generic]] = {}
    for (id_, batch), windows in by_run.items():
        key = energy_key(id_, context.axes(batch=batch))
        samples[f"{key}/calls"] = np.array([w["calls"] for w in windows], dtype=np.int64)
        for number, meter in enumerate(meters):
            samples[f"{key}/{meter.name}-j"] = np.array([w["spans"][number][0] for w in windows], dtype=np.float64)
            samples[f"{key}/{meter.name}-ns"] = np.array([w["spans"][number][1] for w in windows], dtype=np.int64)
    return EnergySamples(
        accounts={run: accounts(windows, meters, resolution=mode.resolution) for run, windows in by_run.items()},
        failed={**failed, **result["errors"]},
        samples=samples,
        facts={
            "mode": config.energy,
            "windows": mode.rounds,
            "window_s": round(result["length_ns"] / 1e9, 3),
            "resolution": mode.resolution,
            "sources": [_facts(status, meter) for status, meter in zip(used, meters, strict=True)],
            **({"uncounted": uncounted} if uncounted else {}),
        },
    )


def _meter(number: int, status: MeterStatus, result: Mapping[str, Any]) -> MeterProfile:
    idle = [window["spans"][number] for window in result["idle"]]
    return MeterProfile(
        name=status.meter.name,
        scope=status.meter.scope,
        evidence=status.meter.evidence,
        period_s=result["period_ns"][number] / 1e9,
        idle_w=np.array([joules / (duration_ns / 1e9) for joules, duration_ns in idle]),
        idle_s=min(duration_ns for _, duration_ns in idle) / 1e9,
    )


def _facts(status: MeterStatus, meter: MeterProfile) -> dict[str, Any]:
    assert isinstance(status.state, Available)
    idle_w = [round(float(watts), 4) for watts in meter.idle_w]
    rates = {"update_period_ms": round(1e3 * meter.period_s, 3), "idle_w": idle_w}
    return {
        "name": meter.name,
        "scope": meter.scope,
        "detail": status.state.detail,
        "evidence": meter.evidence,
    } | (rates if meter.evidence == "measured" else {})
