"""Progress of long work: workflows report it, the command line displays it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """How many tasks of one kind, called `name`, are in which state, and how long the unfinished ones probably take."""

    name: str
    queued: int
    running: int
    done: int
    failed: int
    remaining_s: float | None = None


@dataclass(frozen=True)
class Board:
    """The state of work that is done side by side: a row for each kind of task, and where the `running` ones are."""

    rows: tuple[Row, ...]
    running: Mapping[str, str] = field(default_factory=dict)


class Progress:
    """Receives the progress of long work: stages in order, steps within the current stage, and notes.

    The methods do nothing; a display overrides them.
    """

    def stage(self, title: str, number: int, total: int) -> None:
        """Begin stage `number` (from 1) of `total`."""

    def step(self, done: float, total: float, detail: str = "") -> None:
        """Report that `done` of `total` units of the current stage are finished."""

    def waiting(self, detail: str) -> None:
        """Report every moment, after a note, that nothing is done meanwhile: the time does not count for the pace."""

    def board(self, board: Board) -> None:
        """Report the state of tasks that run side by side, in place of steps."""

    def note(self, text: str) -> None:
        """Report a message that deserves its own line."""

    def folder(self, path: Path) -> None:
        """Report the folder of the results as soon as it is known: an interrupted run can be resumed there."""


class Silent(Progress):
    """Progress that is not displayed."""


@dataclass(frozen=True)
class SubProgress(Progress):
    """The progress of one part of a stage of `parent`: its steps appear between `start` and `end`, 0 to 1.

    Within a part no stage begins and no folder is chosen.
    """

    parent: Progress
    start: float
    end: float
    detail: str

    def step(self, done: float, total: float, detail: str = "") -> None:
        """Report `done` of `total` of this part."""
        share = min(done / total, 1.0) if total else 1.0
        text = ": ".join(filter(None, (self.detail, detail)))
        self.parent.step(self.start + share * (self.end - self.start), 1.0, text)

    def waiting(self, detail: str) -> None:
        """Pass on the wait."""
        self.parent.waiting(detail)

    def note(self, text: str) -> None:
        """Pass on the note."""
        self.parent.note(text)

    def part(self, number: int, parts: int, detail: str) -> SubProgress:
        """Return the progress of part `number`, from 0, of equal `parts` of this one."""
        width = (self.end - self.start) / parts
        return replace(self, start=self.start + number * width, end=self.start + (number + 1) * width, detail=detail)
