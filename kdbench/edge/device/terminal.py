"""Progress on the device's terminal, in plain lines; on a terminal the last one moves."""

from __future__ import annotations

import sys
from pathlib import Path

from kdbench.characters import for_log, one_line
from kdbench.progress import Progress


def say(text: str) -> None:
    """Write a line to the device's terminal, with unsafe characters as codes; ignore that it cannot be written."""
    try:
        sys.stderr.write(f"{for_log(text)}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def shown_path(path: Path) -> str:
    """Return a path as one types it here: relative to the working directory where it is below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except (ValueError, OSError, RuntimeError):  # elsewhere, or a loop of links
        return str(path)


class TerminalProgress(Progress):
    """Shows each stage, and on a terminal how far it is."""

    def __init__(self) -> None:
        self._title, self._last = "", -1
        self._moves = sys.stderr.isatty()

    def stage(self, title: str, number: int, total: int) -> None:
        """Begin a stage."""
        self._title, self._last = one_line(f"[{number}/{total}] {title}"), -1
        say(self._title)

    def step(self, done: float, total: float, detail: str = "") -> None:
        """Show how far the stage is."""
        percent = int(100 * done / total) if total else 0
        if self._moves and percent != self._last:
            self._last = percent
            sys.stderr.write(f"\r{self._title}  {percent:3d} %  {one_line(detail)[:40]:40}\r")
            sys.stderr.flush()

    def waiting(self, detail: str) -> None:
        """Show the reason for waiting instead of the stage's progress."""
        self.step(0, 1, detail)

    def note(self, text: str) -> None:
        """Show a message."""
        say(text)
