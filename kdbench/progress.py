"""What long work tells whoever watches it. The command line draws it; everything below only reports."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol


class Progress(Protocol):
    """A watcher of long work: stages in order, steps inside the current stage, notes in between."""

    def stage(self, title: str, number: int, total: int) -> None:
        """Begin stage `number` (from 1) of `total`."""

    def step(self, done: float, total: float, detail: str = "") -> None:
        """Say that `done` of `total` units of the current stage are finished."""

    def note(self, text: str) -> None:
        """Say something worth a line of its own."""

    def folder(self, path: Path) -> None:
        """Say, as soon as it is known, which folder the work is kept in: where an interrupted run can be resumed."""


class Silent:
    """A watcher that says nothing."""

    def stage(self, title: str, number: int, total: int) -> None:
        """Ignore the stage."""

    def step(self, done: float, total: float, detail: str = "") -> None:
        """Ignore the step."""

    def note(self, text: str) -> None:
        """Ignore the note."""

    def folder(self, path: Path) -> None:
        """Ignore the folder."""


@dataclass(frozen=True)
class SubProgress:
    """The progress of one part of a stage: its steps appear between `start` and `end` of `whole`, 0 to 1."""

    whole: Progress
    start: float
    end: float
    detail: str

    def stage(self, title: str, number: int, total: int) -> None:
        """Pass on the stage."""
        self.whole.stage(title, number, total)

    def step(self, done: float, total: float, detail: str = "") -> None:
        """Show `done` of `total` of this part."""
        share = min(done / total, 1.0) if total else 1.0
        text = ": ".join(filter(None, (self.detail, detail)))
        self.whole.step(self.start + share * (self.end - self.start), 1.0, text)

    def note(self, text: str) -> None:
        """Pass on the note."""
        self.whole.note(text)

    def folder(self, path: Path) -> None:
        """Pass on the folder."""
        self.whole.folder(path)

    def part(self, number: int, parts: int, detail: str) -> "SubProgress":
        """Return the watcher of part `number`, from 0, of equal `parts` of this one."""
        width = (self.end - self.start) / parts
        return replace(self, start=self.start + number * width, end=self.start + (number + 1) * width, detail=detail)
