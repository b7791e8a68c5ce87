"""Progress in a notebook: one line, redrawn in its cell. Elsewhere nothing is shown unless a `Progress` is given."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

from kdbench import units
from kdbench.characters import one_line
from kdbench.pace import Pace
from kdbench.progress import Progress, Silent

_INTERVAL_S = 0.5  # drawing must not disturb what is being measured


@contextmanager
def progress_display(progress: Progress | None) -> Iterator[Progress]:
    """Yield `progress`; if it is None, a display in a notebook."""
    if progress is not None:
        yield progress
    elif not in_notebook():
        yield Silent()
    else:
        display, finished = NotebookProgress(_cell()), False
        try:
            yield display
            finished = True
        finally:
            display.close(finished=finished)


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this code; Colab's shell is a subclass of Jupyter's."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)


def _cell() -> Callable[[str], None]:
    """Return a function that shows HTML in the current cell, in place of what it showed before."""
    from IPython.display import HTML, display

    handle: Any = display(HTML(""), display_id=True)
    return lambda text: handle.update(HTML(text))


class NotebookProgress(Progress):
    """Progress as one line with a bar and the remaining time, and the notes below it; `draw` shows HTML."""

    def __init__(self, draw: Callable[[str], None], clock_s: Callable[[], float] = time.monotonic) -> None:
        self._draw, self._clock_s = draw, clock_s
        self._drawn_s = self._began_s = clock_s()
        self._stage, self._notes, self._folder = "", list[str](), ""
        self._pace = Pace(clock_s)

    def stage(self, title: str, number: int, total: int) -> None:
        """Begin a stage."""
        self._pace = Pace(self._clock_s)
        self._stage = f"[{number}/{total}] {title}"
        self._show(0.0, "")

    def step(self, done: float, total: float, detail: str = "") -> None:
        """Draw how much is done and how long the rest takes, unless that was drawn moments ago."""
        left = self._pace.remaining(done, total)
        self._draw_sometimes(done / total if total else 0.0, detail, left)

    def waiting(self, detail: str) -> None:
        """Draw the reason for waiting instead of the bar's detail."""
        self._pace.pause()
        self._draw_sometimes(0.0, detail)

    def note(self, text: str) -> None:
        """Add a line."""
        self._notes.append(text)
        self._show(0.0, "")

    def folder(self, path: Path) -> None:
        """Show the folder when all is done."""
        self._folder = str(path)

    def close(self, *, finished: bool = True) -> None:
        """Show how long it took, and where the results are; if the work did not finish, where it stopped."""
        took = units.duration(self._clock_s() - self._began_s)
        ended = [f"done in {took}"] if finished else [f"stopped after {took}", self._stage]
        where = f"results in {self._folder}" if self._folder else ""
        self._lines(", ".join(filter(None, (*ended, where))))

    def _draw_sometimes(self, share: float, *details: str) -> None:
        if self._clock_s() - self._drawn_s >= _INTERVAL_S:
            self._show(share, *details)

    def _show(self, share: float, *details: str) -> None:
        self._drawn_s = self._clock_s()
        text = " · ".join(filter(None, (self._stage, *details)))
        self._lines(text, f'<progress value="{share:.3f}" max="1"></progress> ')

    def _lines(self, text: str, before: str = "") -> None:
        lines = [f"{before}{escape(one_line(text))}", *(escape(one_line(note)) for note in self._notes)]
        self._draw("<br>".join(lines))
