"""Measuring in fresh processes of one model each: what a process pays once can be seen only once in each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.machine.cores import rotate_cores
from kdbench.progress import Progress
from kdbench.worker.process import WorkerError, run_job


@dataclass(frozen=True)
class ProcessResults:
    """What the processes said, `results[key]` one a process, and why a key has none, `failed[key]`."""

    results: Mapping[Any, list[Mapping[str, Any]]] = field(default_factory=dict)
    failed: Mapping[Any, str] = field(default_factory=dict)

    def values(self, key: object, name: str) -> NDArray[np.float64]:
        """Return what each process of `key` said of `name`."""
        return np.array([result[name] for result in self.results[key]], dtype=np.float64)


def in_turns(
    jobs: Mapping[Any, Mapping[str, Any]],
    processes: int,
    folder: Path,
    progress: Progress,
    *,
    threads: int,
    cores: Sequence[int] | None = None,
) -> ProcessResults:
    """Do each of `jobs` in `processes` fresh processes, the jobs taking turns, and return what they said.

    A result with `errors` (id to reason), or a process that dies, fails its key, which is then left out; a key that
    failed once has no results. `threads` are a model's, and bound numpy's own; a key's processes take turns on `cores`.
    """
    results: dict[Any, list[Mapping[str, Any]]] = {key: [] for key in jobs}
    failed: dict[Any, str] = {}
    turns = [(turn, key) for turn in range(processes) for key in jobs]
    for number, (turn, key) in enumerate(turns):
        progress.step(number, len(turns))
        if key in failed:
            continue
        try:
            result = run_job(jobs[key], folder, progress, threads=threads, cores=rotate_cores(cores, threads, turn))
        except WorkerError as error:
            failed[key] = error.message
            continue
        if result["errors"]:
            failed[key] = "; ".join(result["errors"].values())
        else:
            results[key].append(result)
    return ProcessResults({key: taken for key, taken in results.items() if key not in failed}, failed)


def spread(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Return how far the extremes of `values`, none negative, lie apart, as a share of the largest."""
    largest = float(np.max(values))
    return float(np.ptp(values)) / largest if largest else 0.0
