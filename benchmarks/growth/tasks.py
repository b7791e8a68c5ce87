"""The tasks whose work grows with the number of models, records or points, each with its sizes and its goal."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.growth import planning, sweeping
from benchmarks.growth.records import Parts, synthetic_record
from kdbench.judge.compare.records import compare
from kdbench.judge.history import history
from kdbench.judge.located_records import locate_records
from kdbench.judge.readiness import judge
from kdbench.judge.target import load_target, shipped_targets
from kdbench.report import FORMATS, Content, write
from kdbench.report.styles import STYLES
from kdbench.report.text.comparison import markdown
from kdbench.results.records import RunRecord

SMALL = Parts(classes=3, energy=False, offline=False, layers=False, seeds=False, faults=False)
MODELS, COMPARED, FILES = (25, 50, 100), (75, 150, 300), (10, 20, 40)
RECORDS, POINTS = (500, 1000, 2000), (2500, 5000, 10_000)
SECONDS = 10.0  # where the goal is "in seconds"
DRIVER_S = 0.05  # of each point

SetUp = Callable[[int], Callable[[], object]]
"""Prepares a task of a size, untimed, and returns the task."""


@dataclass(frozen=True)
class Task:
    """A task at three sizes, and the CPU time in seconds that it may take at the last of them."""

    name: str
    set_up: SetUp
    sizes: tuple[int, ...]
    goal_s: float


@dataclass(frozen=True)
class Tasks:
    """The tasks; synthetic records are kept in `root`, the index of records that were read in `cache`."""

    root: Path
    cache: Path

    def __iter__(self) -> Iterator[Task]:
        """Yield every task."""
        for format_ in FORMATS.names():
            yield Task(f"report {format_}", partial(self._report, format_, None), MODELS, 10.0)
        for style, _ in STYLES:
            yield Task(f"report md, style {style}", partial(self._report, "md", style), MODELS, 10.0)
        yield Task("ready", self._ready, COMPARED, 2.0)
        yield Task("compare", self._compared, COMPARED, 5.0)
        yield Task("plan of a recipe", planning.recipe, POINTS, SECONDS)
        yield Task("plan of a sweep", planning.sweep, POINTS, 15.0)
        yield Task("driver of a sweep", partial(sweeping.drive, folder=self.root), POINTS, DRIVER_S * POINTS[-1])
        yield Task("record of a sweep", partial(sweeping.record, folder=self.root), POINTS, 300.0)
        yield Task("report of a sweep", partial(sweeping.write_report, folder=self.root), POINTS, 300.0)
        yield Task("plan of a bench", partial(planning.bench, folder=self.root / "files"), FILES, SECONDS)
        yield Task("history", self._over, RECORDS, 15.0)
        yield Task("history again", self._again, RECORDS, 15.0)

    def _records(self, models: int, hour: int = 0) -> Path:
        return stored(self.root / f"{models}-{hour}", models, hour, Parts())

    def _report(self, format_: str, style: str | None, models: int) -> Callable[[], object]:
        path = self._records(models)

        def run() -> None:
            read = Content.read(path)
            write(Content(read.record, read.verdicts, read.samples, style), path, (format_,))

        return run

    def _ready(self, models: int) -> Callable[[], object]:
        path, target = self._records(models), load_target(next(iter(shipped_targets())))
        return lambda: judge(RunRecord.read(path), target)

    def _compared(self, models: int) -> Callable[[], object]:
        paths = self._records(models), self._records(models, hour=5)
        return lambda: markdown(compare(*map(RunRecord.read, paths)))

    def _over(self, records: int) -> Callable[[], object]:
        os.environ["KDBENCH_CACHE"] = str(self.cache)  # without what others read
        folders = [stored(self.root / "history" / f"{hour:05}", 4, hour, SMALL) for hour in range(records)]
        return lambda: history(locate_records(folders)[0])

    def _again(self, records: int) -> Callable[[], object]:
        run = self._over(records)
        run()
        return run


def stored(folder: Path, models: int, hour: int, parts: Parts) -> Path:
    """Return a folder with a synthetic record, written on the first call."""
    if not (folder / "record.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        synthetic_record(models, hour=hour, parts=parts).write(folder / "record.json")
    return folder
