"""What long work tells whoever watches it. The command line draws it; everything below only reports."""

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
