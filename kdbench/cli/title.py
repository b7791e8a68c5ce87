"""The remaining time in the terminal's title."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from kdbench import units
from kdbench.characters import one_line, visible
from kdbench.pace import Pace
from kdbench.processes import cleanup
from kdbench.progress import Board, Progress

# xterm's control sequences (XTWINOPS and OSC 2); terminals that lack them show nothing.
_KEEP, _RESTORE = "\x1b[22;2t", "\x1b[23;2t"
_SET = "\x1b]2;{}\x07"


@contextlib.contextmanager
def titled(progress: Progress, terminal: TextIO) -> Iterator[Progress]:
    """Yield `progress` so that it shows in the terminal's title, too; the former title returns at the end."""

    def write(text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the terminal may be gone
            terminal.write(text)
            terminal.flush()

    write(_KEEP)
    with cleanup.undo_at_end(lambda: write(_RESTORE)):
        yield TitleProgress(progress, lambda text: write(_SET.format(text)))


class TitleProgress(Progress):
    """Progress that also sets a title: `3 min left · [2/6] train student`."""

    def __init__(
        self, progress: Progress, write: Callable[[str], None], clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._progress = progress
        self._write = write
        self._clock_s = clock_s
        self._pace = Pace(clock_s)
        self._stage = self._shown = ""

    def stage(self, title: str, number: int, total: int) -> None:
        """Show the stage; how long it takes is not known yet."""
        self._progress.stage(title, number, total)
        self._pace = Pace(self._clock_s)
        self._stage = visible(one_line(f"[{number}/{total}] {title}"))
        self._show(self._stage)

    def step(self, done: float, total: float, detail: str = "") -> None:
        """Show how long the rest of the stage takes."""
        self._progress.step(done, total, detail)
        left = self._pace.remaining(done, total)
        self._show(f"{left} · {self._stage}" if left else self._stage)

    def waiting(self, detail: str) -> None:
        """Pass on the wait, which no remaining time includes."""
        self._progress.waiting(detail)
        self._pace.pause()
        self._show(self._stage)

    def board(self, board: Board) -> None:
        """Show how long the unfinished tasks take, where that is known."""
        self._progress.board(board)
        known = [row.remaining_s for row in board.rows if row.remaining_s is not None]
        left = f"{units.duration(sum(known))} left" if known else ""
        self._show(" · ".join(filter(None, (left, self._stage))))

    def note(self, text: str) -> None:
        """Pass on the note."""
        self._progress.note(text)

    def folder(self, path: Path) -> None:
        """Pass on the folder."""
        self._progress.folder(path)

    def _show(self, text: str) -> None:
        if text != self._shown:  # terminals are slow, and must not disturb what is measured
            self._shown = text
            self._write(text)
