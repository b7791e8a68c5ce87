"""The time of calls of one file relative to another, from a few sessions: for a search that times many candidates."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdbench.errors import MeasurementError
from kdbench.measure.bench_model import BenchModel
from kdbench.measure.latency.ratios import ratio, session_plan
from kdbench.measure.latency.sessions import calls_of_session
from kdbench.measure.runner import Runner
from kdbench.measure.staging import stage
from kdbench.measure.timed import ONNXRUNTIME, SEED
from kdbench.progress import Progress
from kdbench.recipe.tables.measure import Measure
from kdbench.results.samples import join_sessions
from kdbench.statistics import Clustered, undisturbed
from kdbench.worker.jobs import LatencyJob, TimedConfiguration

SESSIONS = 3
SESSION_S = 0.5  # of timing, warm-up included


@dataclass(frozen=True)
class PairTimes:
    """The share of the reference's time that a call of the model takes, its 95 % interval, and its median time."""

    share: float
    low: float
    high: float
    time_ns: float


def time_pair(reference: BenchModel, model: BenchModel, config: Measure, folder: Path, progress: Progress) -> PairTimes:
    """Time calls of two models with different ids, in turns, in SESSIONS fresh processes, as a latency is measured.

    With the first of `config.threads`, its provider, and batch 1 or the one that both files fix. `folder` is for
    temporary files. Raises MeasurementError if either does not run.
    """
    models = (reference, model)
    jobs = stage(models, None, folder, SEED)
    runner, threads = Runner(config, folder), config.threads[0]
    samples = folder / "samples.npz"
    configuration = TimedConfiguration(
        threads=threads, batch=model.facts.fixed_batch or 1, models=(0, 1), budget_s=SESSION_S
    )
    calls: dict[tuple[str, int], list[Clustered]] = defaultdict(list)
    for session in range(SESSIONS):
        job = LatencyJob(
            runtime=ONNXRUNTIME,
            models=tuple(jobs[m.id] for m in models),
            configurations=(configuration,),
            provider=config.provider,
            threads=threads,
            seed=SEED,
            session=session,
            floor=None,
            samples=str(samples),
        )
        result = runner.run(job, progress, turn=session, threads=threads, monitor=True)
        if errors := result["configurations"][0]["errors"]:
            id_, reason = next(iter(errors.items()))
            raise MeasurementError(f"{id_} could not be timed: {reason}")
        for key, session_calls in calls_of_session(samples, models, session).items():
            calls[key].append(session_calls)
    return _times({key: join_sessions(parts) for key, parts in calls.items()}, models, runner)


def _times(samples: dict[tuple[str, int], Clustered], models: Sequence[BenchModel], runner: Runner) -> PairTimes:
    reference, model = models
    plan = session_plan(runner.cores, SESSIONS)
    estimate = ratio(samples, model.id, reference.id, 0, plan)  # the model's time over the reference's
    if estimate is None or estimate.low is None or estimate.high is None:
        raise MeasurementError(f"{model.id} was not timed together with {reference.id}", "measure on a quieter machine")
    time_ns = float(np.median(undisturbed(samples[model.id, 0]).values))
    return PairTimes(estimate.value, estimate.low, estimate.high, time_ns)
