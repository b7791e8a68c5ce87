"""Energy windows: their number and length, and the measuring process that meters them.

Imports only numpy, `meters` and `worker`: a device that measures a bundle runs this file too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdbench.measure.runner import Runner
from kdbench.measure.timed import TimedModel, TimingConfig, outer_batches
from kdbench.meters.choice import Choice
from kdbench.meters.meter import Available, MeterStatus
from kdbench.progress import Progress
from kdbench.worker.jobs import EnergyJob, JobModel

Run = tuple[str, int]  # a model's id and a batch


# An additional standard uncertainty of windows of half a second, as a share of the value: they all see one state of
# clocks, fans and temperature, and not how these drift over minutes.
QUICK_RESOLUTION = 0.025


@dataclass(frozen=True)
class Mode:
    """How thoroughly energy is metered.

    rounds: the number of windows of each run.
    least_s, least_updates: the shortest window, in seconds and in updates of the counter; the longer one counts.
    settle_s: how long calls run unmetered before each window.
    resolution: an additional standard uncertainty, as a share of the value.
    """

    rounds: int
    least_s: float
    least_updates: int
    settle_s: float
    resolution: float


MODES = {
    "quick": Mode(rounds=5, least_s=0.5, least_updates=20, settle_s=0.1, resolution=QUICK_RESOLUTION),
    # As MLPerf Tiny measures energy: the median of five windows of ten seconds.
    "full": Mode(rounds=5, least_s=10.0, least_updates=100, settle_s=1.0, resolution=0.0),
}


@dataclass(frozen=True)
class Source:
    """A meter that was read: its name, the part of the machine that it covers (`detail`: in words), its evidence."""

    name: str
    scope: str
    detail: str
    evidence: str


def source_of(status: MeterStatus) -> Source:
    """Return the source of an available meter."""
    assert isinstance(status.state, Available)
    meter = status.meter
    return Source(meter.name, meter.scope, status.state.detail, meter.evidence)


def runs_of(models: Sequence[TimedModel], config: TimingConfig) -> list[Run]:
    """Return every model at each of its outer batches."""
    return [(model.id, batch) for model in models for batch in outer_batches(model, config)]


def meter_windows(
    jobs: Mapping[str, JobModel],
    runs: Sequence[Run],
    meters: Choice,
    mode: Mode,
    runner: Runner,
    progress: Progress,
    failed: dict[str, str],
) -> Any | None:
    """Return the result of a process (`worker.probes.energy`) with the windows of `runs`; None if no model is left.

    Models that end the process are added to `failed`, id to reason. Raises WorkerError if a process dies and it is
    unknown which model caused it.
    """
    config, sources = runner.config, [status.meter for status in meters.used]
    threads = config.threads[0]
    job = EnergyJob(
        models=tuple(jobs.values()),
        provider=config.provider,
        threads=threads,
        runs=tuple(runs),
        sources=tuple(source.name for source in sources),
        rounds=mode.rounds,
        least_ns=mode.least_s * 1e9,
        # An estimate has no updates: it is computed when it is read.
        least_updates=mode.least_updates if sources[0].evidence == "measured" else 0,
        settle_ns=mode.settle_s * 1e9,
    )
    return runner.run_remaining(job, failed, progress, numpy_threads=threads)
