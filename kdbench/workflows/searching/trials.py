"""The trials of a search in its run's folder, a small file each: what was chosen, and whether it ended early."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.results.run_folder import RunFolder

FOLDER = "trials"


@dataclass(frozen=True)
class Trial:
    """The values of the axes of trial `number`, from 0.

    `trainings` are the ids of the trainings that its score comes from, one for each seed. `pruned` is the epoch after
    which it was pruned, `failed` the reason why it failed. `excess` is how far it exceeds each limit of the `goal`,
    relative to the limit, once it is measured.
    """

    number: int
    values: Mapping[str, Any]
    trainings: Sequence[str] = ()
    pruned: int | None = None
    failed: str | None = None
    excess: Sequence[float] | None = None
    goal: str = ""

    @property
    def ended_early(self) -> bool:
        """Whether it was pruned or failed, and so will have no results."""
        return self.pruned is not None or self.failed is not None


@dataclass(frozen=True)
class Trials:
    """The trials in a run's folder."""

    folder: RunFolder

    def path(self, number: int) -> Path:
        """Return the file of a trial."""
        return self.folder.path / FOLDER / f"{number:05}.json"

    def write(self, trial: Trial) -> None:
        """Write a trial, replacing its earlier state."""
        storage.make_folder(self.path(0).parent)
        storage.write_json(self.path(trial.number), asdict(trial))

    def read(self, number: int) -> Trial:
        """Return a trial; raises InputError for a file that does not hold one."""
        path = self.path(number)
        content = storage.read_json(path, "trial")
        try:
            trial = Trial(**content)
        except TypeError:
            trial = Trial(-1, {})
        if trial.number != number or not isinstance(trial.values, dict):
            hint = "delete it and resume: the search chooses other values, and finished trainings are kept"
            raise InputError(f"{path} is not a trial of this search", hint)
        return trial

    def all(self) -> list[Trial]:
        """Return all trials in their order."""
        numbers = sorted(int(path.stem) for path in self.path(0).parent.glob("[0-9]*.json") if path.stem.isdecimal())
        return [self.read(number) for number in numbers]


@dataclass
class Curves:
    """The curves of trainings; a file is read again only if it changed."""

    folder: RunFolder
    _known: dict[str, tuple[tuple[int, int], list[float]]] = field(default_factory=dict)

    def of(self, training: str, column: str) -> list[float]:
        """Return the values of a column, one per epoch; none before the first epoch has ended."""
        path = self.folder.checkpoint(training) / "curve.csv"
        try:
            stat = path.stat()
            mark = stat.st_mtime_ns, stat.st_size
            if self._known.get(training, (None,))[0] != mark:
                with path.open(encoding="utf-8", newline="") as stream:
                    values = [float(row[column]) for row in csv.DictReader(stream)]
                self._known[training] = mark, values
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return []  # a damaged file counts as missing: the training writes it again
        return self._known[training][1]
