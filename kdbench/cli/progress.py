"""Drawing progress: a live display on a terminal, plain lines elsewhere, nothing with --quiet."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench import units
from kdbench.characters import one_line, visible
from kdbench.cli.console import drawing_console, say
from kdbench.cli.invocation import Invocation
from kdbench.cli.title import titled
from kdbench.pace import Pace
from kdbench.progress import Board, Progress, Row, Silent

if TYPE_CHECKING:
    from rich.progress import Progress as Display
    from rich.progress import TaskID


@contextlib.contextmanager
def watching(invocation: Invocation, *, quiet: bool, title: bool = False) -> Iterator[Progress]:
    """Yield the progress for long work; it is shown on standard error, and `invocation` gets the folder.

    With `title` the title of the terminal, if there is one, shows the remaining time, too.
    """
    import logging

    # Without a handler Python writes the warnings of libraries between the lines.
    logging.getLogger().addHandler(logging.NullHandler())
    terminal = sys.stderr  # a live display replaces it
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(_drawing(invocation, quiet=quiet))
        yield stack.enter_context(titled(progress, terminal)) if title and terminal.isatty() else progress


@contextlib.contextmanager
def _drawing(invocation: Invocation, *, quiet: bool) -> Iterator[Progress]:
    if quiet:
        yield QuietProgress(invocation)
    elif sys.stderr.isatty():
        with _display() as display:
            live = LiveProgress(invocation, display)
            yield live
            live.close()
    else:
        yield Plain(invocation)


_MAX_RUNNING = 8  # tasks that have a line of their own
_WAITING_S = 60.0  # from one line about a wait to the next
_UNCHANGED_S = 600.0  # from one board to the next where no task has begun or ended


def describe_row(row: Row) -> str:
    """Return the state of tasks of one kind: `trainings: 3 queued, 2 running, 4 done, 1 failed, 2 min left`."""
    counts = {"queued": row.queued, "running": row.running, "done": row.done, "failed": row.failed}
    parts = [f"{count:,} {state}" for state, count in counts.items() if count or state == "done"]
    left = [] if row.remaining_s is None else [f"{units.duration(row.remaining_s)} left"]
    return f"{row.name}: {', '.join(parts + left)}"


class QuietProgress(Silent):
    """Progress that shows nothing and keeps the folder to resume from."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation

    def folder(self, path: Path) -> None:
        """Keep the folder to resume from."""
        self._invocation.folder = path


class Plain(QuietProgress):
    """Progress as lines: one per stage, and at most one every few seconds in between."""

    def __init__(
        self,
        invocation: Invocation,
        *,
        write: Callable[[str], None] = say,
        clock_s: Callable[[], float] = time.monotonic,
        every_s: float = 5.0,
    ) -> None:
        super().__init__(invocation)
        self._write = write
        self._clock_s = clock_s
        self._every_s = every_s
        self._wrote_s = clock_s()
        self._pace = Pace(clock_s)
        self._counts: list[Row] = []
        self._noted_s: float | None = None  # when a line last reported the present wait

    def stage(self, title: str, number: int, total: int) -> None:
        """Write the stage's line."""
        self._wrote_s = self._clock_s()
        self._pace = Pace(self._clock_s)
        self._write(f"[{number}/{total}] {one_line(title)}")

    def step(self, done: float, total: float, detail: str = "") -> None:
        """Write how much of the stage is done, unless a line was written moments ago."""
        left = self._pace.remaining(done, total)
        now_s, self._noted_s = self._clock_s(), None
        if now_s - self._wrote_s < self._every_s:
            return
        self._wrote_s = now_s
        parts = [f"{100 * done / total:.0f} %" if total else "", one_line(detail), left]
        self._write("      " + " · ".join(part for part in parts if part))

    def waiting(self, detail: str) -> None:
        """Write a line a minute; the first is the note that came before."""
        self._pace.pause()
        now_s = self._clock_s()
        if self._noted_s is None:
            self._noted_s = now_s
        elif now_s - self._noted_s >= _WAITING_S:
            self._noted_s = self._wrote_s = now_s
            self._write(f"      {one_line(detail)}")

    def board(self, board: Board) -> None:
        """Write a line for each kind of task, unless lines were written moments ago or all is as it was.

        If all is as it was for long, also write what the running tasks are doing.
        """
        counts = [replace(row, remaining_s=None) for row in board.rows]
        now_s, changed = self._clock_s(), counts != self._counts
        finished = not any(row.queued or row.running for row in board.rows)
        pause_s = self._every_s if changed else _UNCHANGED_S
        if now_s - self._wrote_s < pause_s and not (changed and finished):
            return
        self._wrote_s, self._counts = now_s, counts
        for row in board.rows:
            self._write(f"      {describe_row(row)}")
        if not changed:
            for id_, text in [*board.running.items()][:_MAX_RUNNING]:
                self._write(f"      {one_line(': '.join(filter(None, (id_, text))))}")

    def note(self, text: str) -> None:
        """Write the note."""
        self._write(f"      {text}")


class LiveProgress(QuietProgress):
    """Progress as a bar per stage, redrawn in place."""

    def __init__(
        self, invocation: Invocation, display: "Display", *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(invocation)
        self._display = display
        self._clock_s = clock_s
        self._pace = Pace(clock_s)
        self._task: TaskID | None = None
        self._lines: dict[object, TaskID] = {}  # of the board

    def stage(self, title: str, number: int, total: int) -> None:
        """Finish the bar of the previous stage and start a new one."""
        self.close()
        self._pace = Pace(self._clock_s)
        self._task = self._display.add_task(
            one_line(title), total=None, place=f"[{number}/{total}]", time="", detail=""
        )

    def step(self, done: float, total: float, detail: str = "") -> None:
        """Move the bar."""
        assert self._task is not None, "a step before the first stage"
        left = self._pace.remaining(done, total)
        self._display.update(self._task, completed=done, total=total, time=left, detail=one_line(detail))

    def waiting(self, detail: str) -> None:
        """Show the reason for waiting next to the bar."""
        self._pace.pause()
        if self._task is not None:
            self._display.update(self._task, time="", detail=one_line(detail))

    def board(self, board: Board) -> None:
        """Redraw a bar for each kind of task, and a line for each of the tasks that run."""
        for row in board.rows:
            done, total = row.done + row.failed, row.queued + row.running + row.done + row.failed
            failed = f", {row.failed:,} failed" if row.failed else ""
            detail = f"{row.running:,} running, {row.queued:,} queued{failed}"
            left = "" if row.remaining_s is None else f"{units.duration(row.remaining_s)} left"
            share, bar = f"{row.done:,}/{total:,}", {"completed": done, "total": total}
            self._draw(row.name, one_line(row.name), share, detail, left, **bar)
        running = [*board.running.items()][:_MAX_RUNNING]
        for number, (id_, text) in enumerate([*running, *([("", "")] * (_MAX_RUNNING - len(running)))]):
            self._draw(number, one_line(id_), "", one_line(text), "", visible=bool(id_))

    def _draw(self, key: object, title: str, place: str, detail: str, left: str, **bar: Any) -> None:
        """Redraw the line `key`; without numbers its bar only moves."""
        if key not in self._lines:
            if not title:
                return
            self._lines[key] = self._display.add_task(title, total=None, place=place, time=left, detail=detail)
        self._display.update(self._lines[key], description=title, place=place, time=left, detail=detail, **bar)

    def note(self, text: str) -> None:
        """Print the note above the bars."""
        self._display.console.print(visible(text), markup=False, highlight=False)

    def close(self) -> None:
        """Show the current stage as finished, with its duration."""
        if self._task is not None:
            elapsed = units.duration(self._clock_s() - self._pace.started_s)
            self._display.update(self._task, completed=1, total=1, time=elapsed)


def _display() -> "Display":
    """Return a display that shortens the detail first when the terminal is narrow."""
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress
    from rich.table import Column

    detail = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    return RichProgress(
        TextColumn("{task.fields[place]}", style="dim", markup=False),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[time]}", markup=False, table_column=Column(no_wrap=True, justify="right")),
        TextColumn("{task.fields[detail]}", style="dim", markup=False, table_column=detail),
        console=drawing_console(sys.stderr),
        expand=True,
        refresh_per_second=2,  # drawing must not disturb what is being measured
    )
