import io
from pathlib import Path

import pytest

from kdbench.cli.invocation import Invocation
from kdbench.cli.progress import watching
from kdbench.cli.title import TitleProgress
from kdbench.progress import Board, Progress, Row


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_title_is_the_time_left_and_the_stage():
    now_s, shown = 0.0, []
    titled = TitleProgress(Progress(), shown.append, lambda: now_s)
    titled.stage("train a\x1b]2;b", 2, 6)
    for done in (0, 0, 1):
        titled.step(done, 4, "epoch")
        now_s += 20
    assert shown[0].startswith("[2/6] train a")
    assert "\x1b" not in shown[0]
    assert shown[1:] == [f"2 min 00 s left · {shown[0]}"]


def test_the_title_has_the_time_that_tasks_side_by_side_take_together():
    shown = []
    counts = {"queued": 1, "running": 1, "done": 0, "failed": 0}
    rows = [Row(name, **counts, remaining_s=seconds) for name, seconds in (("a", 90), ("b", 30), ("c", None))]
    TitleProgress(Progress(), shown.append).board(Board(tuple(rows)))
    assert shown == ["2 min 00 s left"]


@pytest.mark.parametrize("quiet", [True, False])
def test_the_former_title_returns_also_after_an_error(monkeypatch, quiet):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    invocation = Invocation()

    def work():
        with watching(invocation, quiet=quiet, title=True) as progress:
            progress.folder(Path("runs/x"))
            progress.stage("train", 1, 2)
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - the block's own
        work()
    text = screen.getvalue()
    assert text.index("\x1b[22;2t") < text.index("\x1b]2;[1/2] train\x07") < text.rindex("\x1b[23;2t")
    assert invocation.folder == Path("runs/x")


@pytest.mark.parametrize(("terminal", "title"), [(Terminal(), False), (io.StringIO(), True)])
def test_no_title_without_a_terminal_or_unasked(monkeypatch, terminal, title):
    monkeypatch.setattr("sys.stderr", terminal)
    with watching(Invocation(), quiet=False, title=title) as progress:
        progress.stage("train", 1, 2)
    assert "\x1b]2" not in terminal.getvalue()
    assert "\x1b[22" not in terminal.getvalue()
