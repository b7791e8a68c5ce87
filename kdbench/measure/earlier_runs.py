"""The results of earlier runs of the same model on this machine, kept in the user's cache folder.

The values of a few runs show how runs differ on a machine (`statistics.runs`). They affect only the width of intervals;
a folder that cannot be read or written counts as empty.
"""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.files import storage
from kdbench.machine.cores import available_cores
from kdbench.machine.host import libraries, processor, virtualization
from kdbench.results.metrics import metric
from kdbench.results.runtimes import RUNTIMES, libraries_of
from kdbench.results.samples import configuration_key
from kdbench.statistics import Estimate, RunSpread, run_spread

MAX_RUNS = 40  # of one model; older ones are dropped
# Another version of these, installed or not, or of an installed library among _EXTRAS counts as another machine.
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "torch")
_EXTRAS = sorted({*libraries_of(RUNTIMES)} - {*_RUNTIMES})

Run = Mapping[str, Estimate]
"""The estimates of one run by metric; their intervals are those that the run's own sessions give."""


@dataclass(frozen=True)
class EarlierRuns:
    """The runs of every model on this machine, one file a model in `folder`; none without a folder."""

    folder: Path | None = None

    @classmethod
    def of_user(cls) -> "EarlierRuns":
        """Return the runs in the user's cache folder that had this machine's hardware and versions of the runtimes."""
        return cls(storage.user_cache() / "latencies" / _machine())

    def spreads(self, sha256: str, axes: Mapping[str, str | int], run: Run) -> dict[str, RunSpread]:
        """Add `run` to the earlier runs, and return how much runs differ in each of its metrics."""
        runs = [*self.for_model(sha256, axes), run]
        self.add(sha256, axes, run)
        return {id_: run_spread([r[id_] for r in runs if id_ in r], metric(id_).run_to_run) for id_ in run}

    def for_model(self, sha256: str, axes: Mapping[str, str | int]) -> list[Run]:
        """Return the runs of the model file with this hash at `axes`, oldest first."""
        stored = self._read(sha256).get(configuration_key(axes), [])
        return [{id_: Estimate(*numbers) for id_, numbers in run.items()} for run in stored]

    def add(self, sha256: str, axes: Mapping[str, str | int], run: Run) -> None:
        """Store one more run of a model; a folder that cannot be written is left as it is."""
        if self.folder is None:
            return
        stored, key = self._read(sha256), configuration_key(axes)
        numbers = {id_: [e.value, e.low, e.high, e.n] for id_, e in run.items() if e.low is not None}
        runs = [*stored.get(key, []), numbers][-MAX_RUNS:]
        try:
            storage.make_folder(self.folder)
            storage.write_json(self._file(sha256), {**stored, key: runs})
        except KdbenchError:
            return  # it is only a cache: without it, the next run assumes the usual spread

    def _read(self, sha256: str) -> dict[str, list[dict[str, list[Any]]]]:
        if self.folder is None:
            return {}
        try:
            stored = storage.read_json(self._file(sha256), "list of earlier runs")
        except KdbenchError:
            return {}
        return stored if _is_valid(stored) else {}

    def _file(self, sha256: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{sha256}.json"


def _machine() -> str:
    """Return a name of this machine that differs from those of others that share the folder."""
    versions = libraries()
    facts = [platform.node(), processor(), virtualization(), available_cores()]
    extras = [f"{name} {versions[name]}" for name in _EXTRAS if name in versions]
    return storage.content_hash([*facts, *(versions.get(name) for name in _RUNTIMES), *extras])[:16]


def _is_valid(stored: Any) -> bool:
    """Return whether a file has the form that `add` writes: a folder that others may write to is not trusted."""
    return isinstance(stored, dict) and all(
        isinstance(runs, list) and all(isinstance(run, dict) and all(map(_is_estimate, run.values())) for run in runs)
        for runs in stored.values()
    )


def _is_estimate(numbers: Any) -> bool:
    if not (isinstance(numbers, Sequence) and len(numbers) == 4):
        return False
    value, low, high, n = numbers
    numeric = all(isinstance(x, int | float) for x in (value, low, high)) and isinstance(n, int)
    return numeric and 0 < low <= value <= high
