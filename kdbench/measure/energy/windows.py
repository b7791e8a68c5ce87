"""Windows of energy: how many and how long, and the measuring process that meters them.

numpy, `meters` and `worker` alone: a device that measures a bundle runs this file too.
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


# Windows of half a second see one state of clocks, fans and temperature, and none of the drift from minute to minute:
# an additional standard uncertainty, as a share of the value.
QUICK_RESOLUTION = 0.025


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
class Source:
    """A meter that was read: its name, what it covers here (`scope`, and `detail` in words), and its evidence."""

    name: str
    scope: str
    detail: str
    evidence: str


def source_of(status: MeterStatus) -> Source:
    """Return a meter that is available as a source."""
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

    `failed` collects the models that end the process. Raises WorkerError where no single one can be blamed.
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
        # An estimate can be read at any time, and has no steps.
        least_updates=mode.least_updates if sources[0].evidence == "measured" else 0,
        settle_ns=mode.settle_s * 1e9,
    )
    return runner.run_surviving(job, failed, progress, numpy_threads=threads)
