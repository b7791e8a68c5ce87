"""Latency and throughput of models measured together: sessions run one after the other, samples brought home."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.errors import MeasurementError
from kdbench.measure.configurations import Configuration, configurations
from kdbench.measure.jobs import JobModel
from kdbench.measure.process import WorkerError, run_job
from kdbench.measure.protocol import Portion, Protocol, Subject
from kdbench.measure.staging import null_model
from kdbench.statistics import Clustered


@dataclass(frozen=True)
class Sampled:
    """What the sessions brought home.

    `samples` is by subject and configuration number; `failed` maps a subject's id to the reason it has no samples
    anywhere; `floor_ns` is one a session; `warm_up_calls` and `seconds` are by configuration, over all sessions.
    """

    configurations: tuple[Configuration, ...]
    samples: Mapping[tuple[str, int], Clustered]
    failed: Mapping[str, str]
    floor_ns: NDArray[np.float64]
    warm_up_calls: Mapping[tuple[str, int], list[int]]
    seconds: Sequence[float]


def sample(
    subjects: Sequence[Subject],
    models: Mapping[str, JobModel],
    protocol: Protocol,
    folder: Path,
    progress: Portion,
) -> Sampled:
    """Run the sessions one after the other, each a fresh process with every subject in it.

    A subject that takes a session down with it is left out from then on, and its samples are dropped; so are those
    of one that fails in any session. Raises MeasurementError when a session fails without one subject to blame.
    """
    found = configurations(subjects, protocol)
    collected = _Collected(subjects, found, protocol.budget_s / protocol.sessions)
    floor = null_model(folder)
    for session in range(protocol.sessions):
        part = progress.part(session, protocol.sessions, f"latency, session {session + 1} of {protocol.sessions}")
        while True:
            job = {
                "probe": "latency",
                "models": [models[s.id].to_json() for s in subjects],
                "configurations": collected.remaining(),
                "provider": protocol.provider,
                "seed": protocol.seed,
                "session": session,
                "floor": floor.to_json(),
                "samples": str(folder / "samples.npz"),
            }
            try:
                result = run_job(job, folder, part)
            except WorkerError as error:
                if error.model is None or error.model in collected.failed:
                    raise
                collected.failed[error.model] = error.message
                continue
            collected.add(session, result, folder / "samples.npz")
            break
    return collected.sampled()


class _Collected:
    """Samples of the sessions run so far."""

    def __init__(self, subjects: Sequence[Subject], found: tuple[Configuration, ...], session_s: float) -> None:
        self._subjects = subjects
        self._configurations = found
        self._session_s = session_s
        self._parts: dict[tuple[str, int], list[tuple[int, NDArray[np.int64], NDArray[np.int64]]]] = {}
        self._warm_up_calls: dict[tuple[str, int], list[int]] = {}
        self._seconds = [0.0] * len(found)
        self._floor_ns: list[float] = []
        self.failed: dict[str, str] = {}

    def remaining(self) -> list[dict[str, Any]]:
        """Return the configurations with the subjects that have not failed."""
        ids = [s.id for s in self._subjects]
        return [
            {
                **asdict(c),
                "models": [m for m in c.models if ids[m] not in self.failed],
                "budget_s": c.share * self._session_s,
            }
            for c in self._configurations
        ]

    def add(self, session: int, result: Mapping[str, Any], file: Path) -> None:
        """Take in what one session reports and the samples it left in `file`."""
        self.failed |= result["errors"]
        self._floor_ns.append(result["floor_ns"])
        with np.load(file, allow_pickle=False) as arrays:
            for number, configuration in enumerate(self._configurations):
                told = result["configurations"][number]
                self._seconds[number] += told["seconds"]
                for m in configuration.models:
                    key = (self._subjects[m].id, number)
                    if f"{number}/{m}/ns" in arrays:
                        part = (session, arrays[f"{number}/{m}/ns"], arrays[f"{number}/{m}/block"])
                        self._parts.setdefault(key, []).append(part)
                        self._warm_up_calls.setdefault(key, []).append(told["warm_up_calls"][key[0]])
        file.unlink()

    def sampled(self) -> Sampled:
        """Return everything collected, less the samples of subjects that failed."""
        samples = {key: _joined(parts) for key, parts in self._parts.items() if key[0] not in self.failed}
        return Sampled(
            self._configurations,
            samples,
            self.failed,
            np.array(self._floor_ns),
            self._warm_up_calls,
            self._seconds,
        )


def _joined(parts: list[tuple[int, NDArray[np.int64], NDArray[np.int64]]]) -> Clustered:
    return Clustered(
        values=np.concatenate([ns for _, ns, _ in parts]).astype(np.float64),
        session=np.concatenate([np.full(len(ns), session) for session, ns, _ in parts]),
        block=np.concatenate([block for _, _, block in parts]).astype(np.int64),
    )


def nothing_sampled(subjects: Sequence[Subject], protocol: Protocol, error: MeasurementError) -> Sampled:
    """Return what is known when no session came through: every subject failed, for that reason."""
    found = configurations(subjects, protocol)
    failed = {s.id: error.message for s in subjects}
    return Sampled(found, {}, failed, np.empty(0), {}, [0.0] * len(found))
