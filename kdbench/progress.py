"""Progress of long work: workflows report it, the command line displays it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path


class Progress:
    """Receives the progress of long work: stages in order, steps within the current stage, and notes.

    The methods do nothing; a display overrides them.
    """

    def stage(self, title: str, number: int, total: int) -> None:
        """Begin stage `number` (from 1) of `total`."""

    def step(self, done: float, total: float, detail: str = "") -> None:
        """Report that `done` of `total` units of the current stage are finished."""

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

    def note(self, text: str) -> None:
        """Pass on the note."""
        self.parent.note(text)

    def part(self, number: int, parts: int, detail: str) -> SubProgress:
        """Return the progress of part `number`, from 0, of equal `parts` of this one."""
        width = (self.end - self.start) / parts
        return replace(self, start=self.start + number * width, end=self.start + (number + 1) * width, detail=detail)
