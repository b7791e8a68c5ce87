"""Running measuring processes: on which cores, for which models, and without those that fail."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kdbench.machine.cores import choose_cores, quiet_cores, rotate_cores
from kdbench.machine.system_monitor import Conditions, SystemMonitor
from kdbench.measure.timed import TimingConfig
from kdbench.progress import Progress, SubProgress
from kdbench.worker.jobs import Job, ModelsJob
from kdbench.worker.process import WorkerError, run_job

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class ProcessResults:
    """The results of fresh processes: `results[key]` has one per process, `failed[key]` why a key has no results."""

    results: Mapping[Any, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    failed: Mapping[Any, str] = field(default_factory=dict)

    def values(self, key: Hashable, name: str) -> NDArray[np.float64]:
        """Return the result `name` of each process of `key`."""
        return np.array([result[name] for result in self.results[key]], dtype=np.float64)


@dataclass(frozen=True)
class Runner:
    """Runs measuring processes one at a time.

    folder: for the files that the processes exchange.
    conditions: the machine's state during monitored processes is appended here.
    silent: models whose process did not respond are added here; later processes with these models are not started.
    """

    config: TimingConfig
    folder: Path
    conditions: list[Conditions] = field(default_factory=list)
    silent: dict[str, WorkerError] = field(default_factory=dict)

    @cached_property
    def cores(self) -> tuple[int, ...] | None:
        """The cores that processes take turns on."""
        return choose_cores(self.config.cores, self.config.threads)

    def run(
        self,
        job: Job,
        progress: Progress,
        *,
        turn: int = 0,
        threads: int | None = None,
        numpy_threads: int = 1,
        pinned: bool = True,
        monitor: bool = False,
    ) -> Any:
        """Return the result of `job`, run in a fresh process.

        The process is pinned to as many cores as `threads` (default: the job's), other ones at each `turn`; a monitored
        process only to cores that are idle. A job that is not `pinned` runs on all cores. Raises WorkerError if the
        process dies.
        """
        if pinned:
            count = threads or job.threads
            cores = quiet_cores(self.cores, count) if monitor else self.cores
            job = job.on_cores(rotate_cores(cores, count, turn))
        earlier = next((self.silent[m.id] for m in job.called_models if m.id in self.silent), None)
        if earlier is not None:
            raise WorkerError(earlier.message, earlier.hint, earlier.model, silent=True)
        try:
            if not monitor:
                return run_job(job, self.folder, progress, threads=numpy_threads)
            with SystemMonitor(cores=job.allowed_cores, provider=self.config.provider) as system:
                result = run_job(job, self.folder, progress, threads=numpy_threads)
        except WorkerError as error:
            if error.silent and error.model is not None:
                self.silent[error.model] = error
            raise
        self.conditions.append(system.conditions)
        return result

    def run_remaining(self, job: ModelsJob, failed: dict[str, str], progress: Progress, **options: Any) -> Any | None:
        """Return the result of `job` without the models that `failed`; None if no model is left.

        A model that ends the process is added to `failed`, id to reason, and the job runs again without it. `options`
        are those of `run`. Raises WorkerError if a process dies and it is unknown which model caused it.
        """
        while (remaining := job.without(failed)) is not None:
            try:
                return self.run(remaining, progress, **options)
            except WorkerError as error:
                ids = [model.id for model in remaining.called_models]
                culprit = ids[0] if len(ids) == 1 else error.model
                if culprit is None or culprit not in ids:
                    raise
                failed[culprit] = error.message
        return None

    def run_in_turns(
        self, jobs: Mapping[K, Job], processes: int | Mapping[K, int], progress: Progress
    ) -> ProcessResults:
        """Run each of `jobs`, of one model each, in `processes` fresh processes; the jobs take turns.

        A job whose process dies, or returns `errors` (id to reason), does not run again and has no results.
        """
        counts = dict.fromkeys(jobs, processes) if isinstance(processes, int) else processes
        results: dict[K, list[Mapping[str, Any]]] = {key: [] for key in jobs}
        failed: dict[K, str] = {}
        turns = [(turn, key) for turn in range(max(counts.values(), default=0)) for key in jobs if turn < counts[key]]
        for number, (turn, key) in enumerate(turns):
            progress.step(number, len(turns))
            if key in failed:
                continue
            part = SubProgress(progress, number / len(turns), (number + 1) / len(turns), "")
            try:
                result = self.run(jobs[key], part, turn=turn, numpy_threads=jobs[key].threads)
            except WorkerError as error:
                failed[key] = error.message
                continue
            if result["errors"]:
                failed[key] = "; ".join(result["errors"].values())
            else:
                results[key].append(result)
        return ProcessResults({key: values for key, values in results.items() if key not in failed}, failed)
