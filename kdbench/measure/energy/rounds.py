"""The energy pass: which sources to read, and rounds of windows of all models, in a process of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.machine.cores import choose_cores, rotate_cores
from kdbench.measure.bench_model import BenchModel, outer_batches
from kdbench.measure.energy.account import QUICK_RESOLUTION, Account, MeterProfile, accounts
from kdbench.meters.choice import Choice, choose
from kdbench.meters.meter import Available, MeterStatus, Unavailable
from kdbench.progress import SubProgress
from kdbench.recipe.measure import Measure
from kdbench.results.samples import energy_key
from kdbench.worker.jobs import JobModel
from kdbench.worker.process import run_job

Run = tuple[str, int]  # a subject's id and a batch


@dataclass(frozen=True)
class Mode:
    """How thoroughly windows are taken: how many, how long at least, over how many updates of the counter."""

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
    """What the pass found out: the account of each meter in each run, or why a run has none, and the raw windows."""

    accounts: Mapping[Run, Sequence[Account]]
    failed: Mapping[str, str]
    samples: Mapping[str, NDArray[np.generic]]
    facts: Mapping[str, Any]


def sources_for(config: Measure) -> Choice:
    """Return the sources that the protocol's provider and wishes come to on this machine."""
    if config.energy == "off":
        return Choice(Unavailable("energy was not asked for"))
    return choose(config.provider, estimate=config.estimate_energy)


def expected_s(subjects: Sequence[BenchModel], config: Measure, choice: Choice) -> float:
    """Return about how many seconds the pass will take."""
    if isinstance(choice.leading, Unavailable):
        return 0.0
    mode = MODES[config.energy]
    lag_s = max(each.meter.lag_s for each in choice.used)
    length_s = max(mode.least_s, mode.least_updates * choice.used[0].meter.lag_s)
    windows = len(runs_of(subjects, config)) * mode.rounds + mode.rounds + 1
    return windows * (length_s + mode.settle_s + lag_s)


def take(
    runs: Sequence[Run],
    models: Mapping[str, JobModel],
    config: Measure,
    choice: Choice,
    folder: Path,
    progress: SubProgress,
) -> EnergySamples | Unavailable:
    """Take the windows of all `runs`, or say why the leading source gave out; raises WorkerError."""
    result = run_job(
        _job(models, runs, choice, config),
        folder,
        progress,
        threads=config.threads[0],
        cores=rotate_cores(choose_cores(config.cores, config.threads), config.threads[0], 0),
    )
    if result["fault"]:
        return Unavailable(result["fault"], "run kdbench doctor, and measure again")
    return _taken(runs, result, choice, config)


def runs_of(subjects: Sequence[BenchModel], config: Measure) -> list[Run]:
    """Return every model at each of its outer batches."""
    return [(s.id, batch) for s in subjects for batch in outer_batches(s, config)]


def _job(models: Mapping[str, JobModel], runs: Sequence[Run], choice: Choice, config: Measure) -> dict[str, Any]:
    mode = MODES[config.energy]
    estimated = choice.used[0].meter.evidence != "measured"  # then it is asked at will, and has no steps
    return {
        "probe": "energy",
        "models": [models[id_].to_json() for id_ in dict.fromkeys(id_ for id_, _ in runs)],
        "provider": config.provider,
        "threads": config.threads[0],
        "runs": runs,
        "sources": [each.meter.name for each in choice.used],
        "rounds": mode.rounds,
        "least_ns": mode.least_s * 1e9,
        "least_updates": 0 if estimated else mode.least_updates,
        "settle_ns": mode.settle_s * 1e9,
    }


def _taken(runs: Sequence[Run], result: Mapping[str, Any], choice: Choice, config: Measure) -> EnergySamples:
    held_out = [each for each in choice.used if each.meter.name in result["sources"]]
    uncounted = [*(each.reason for each in choice.uncounted), *result["dropped"].values()]
    meters = [_meter(number, each, result) for number, each in enumerate(held_out)]
    mode = MODES[config.energy]
    by_run = {run: windows for run, windows in zip(runs, result["windows"], strict=True) if windows}
    samples: dict[str, NDArray[np.generic]] = {}
    for (id_, batch), windows in by_run.items():
        key = energy_key(id_, {"provider": config.provider, "threads": config.threads[0], "batch": batch})
        samples[f"{key}/calls"] = np.array([w["calls"] for w in windows], dtype=np.int64)
        for number, meter in enumerate(meters):
            samples[f"{key}/{meter.name}-j"] = np.array([w["spans"][number][0] for w in windows], dtype=np.float64)
            samples[f"{key}/{meter.name}-ns"] = np.array([w["spans"][number][1] for w in windows], dtype=np.int64)
    return EnergySamples(
        accounts={run: accounts(windows, meters, resolution=mode.resolution) for run, windows in by_run.items()},
        failed=result["errors"],
        samples=samples,
        facts={
            "mode": config.energy,
            "windows": mode.rounds,
            "window_s": round(result["length_ns"] / 1e9, 3),
            "resolution": mode.resolution,
            "sources": [_facts(each, meter) for each, meter in zip(held_out, meters, strict=True)],
            **({"uncounted": uncounted} if uncounted else {}),
        },
    )


def _meter(number: int, found: MeterStatus, result: Mapping[str, Any]) -> MeterProfile:
    idle = [window["spans"][number] for window in result["idle"]]
    return MeterProfile(
        name=found.meter.name,
        scope=found.meter.scope,
        evidence=found.meter.evidence,
        period_s=result["period_ns"][number] / 1e9,
        idle_w=np.array([joules / (duration_ns / 1e9) for joules, duration_ns in idle]),
        idle_s=min(duration_ns for _, duration_ns in idle) / 1e9,
    )


def _facts(found: MeterStatus, meter: MeterProfile) -> dict[str, Any]:
    assert isinstance(found.state, Available)
    return {
        "name": meter.name,
        "scope": meter.scope,
        "detail": found.state.detail,
        "evidence": meter.evidence,
        **(_of_the_meter(meter) if meter.evidence == "measured" else {}),
    }


def _of_the_meter(meter: MeterProfile) -> dict[str, Any]:
    return {
        "update_period_ms": round(1e3 * meter.period_s, 3),
        "idle_w": [round(float(each), 4) for each in meter.idle_w],
    }
