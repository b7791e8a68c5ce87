import io
import re
from pathlib import Path

import pytest

from kdbench.cli.invocation import Invocation
from kdbench.cli.progress import LiveProgress, Plain, QuietProgress, watching
from kdbench.progress import Board, Row, SubProgress


class Clock:
    """A clock that a test sets."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def plain(clock: Clock, lines: list[str]) -> Plain:
    return Plain(Invocation(), write=lines.append, clock_s=clock, every_s=5.0)


def test_a_stage_is_a_line(plain, lines):
    plain.stage("train teacher", 1, 6)
    plain.stage("export", 5, 6)
    assert lines == ["[1/6] train teacher", "[5/6] export"]


def test_steps_are_throttled_and_tell_the_remaining_time(plain, clock, lines):
    plain.stage("train teacher", 1, 6)
    for done in range(1, 13):  # a step every second, twelve of twenty
        clock.now_s += 1
        plain.step(done, 20, f"epoch {done}")
    assert lines[1:] == ["      25 % · epoch 5 · 15.0 s left", "      50 % · epoch 10 · 10.0 s left"]


def test_the_remaining_time_counts_from_the_stage_not_from_the_start(plain, clock, lines):
    plain.stage("train teacher", 1, 2)
    plain.step(0, 2)
    clock.now_s += 1000
    plain.stage("train student", 2, 2)
    plain.step(0, 2)
    clock.now_s += 10
    plain.step(1, 2)
    assert lines[-1] == "      50 % · 10.0 s left"


def test_each_part_of_a_stage_has_its_pace(plain, clock, lines):
    """The training of a student follows the logits of its teacher, and took 299 h by the time of those."""
    plain.stage("train student", 1, 1)
    for view in range(1, 8):
        clock.now_s += 40
        plain.step(view, 8, "teacher's logits")
    for step in range(1, 4):
        clock.now_s += 10
        plain.step(step, 100, "epoch 1/1")
    assert lines[-2:] == ["      2 % · epoch 1/1 · 16 min 20 s left", "      3 % · epoch 1/1 · 16 min 10 s left"]


def test_an_error_of_rounding_begins_no_part(plain, clock, lines):
    plain.stage("measure", 1, 1)
    for share in (0.0, 0.5, 0.5 - 1e-16):
        plain.step(share, 1)
        clock.now_s += 10
    plain.step(0.5, 1)
    assert lines[-1] == "      50 % · 30.0 s left"


def test_what_an_earlier_process_did_does_not_count_for_the_pace(plain, clock, lines):
    plain.stage("train teacher", 1, 1)
    clock.now_s += 5
    plain.step(80, 100, "epoch 80")  # the first after a resume
    clock.now_s += 10
    plain.step(81, 100, "epoch 81")
    assert lines[1:] == ["      80 % · epoch 80", "      81 % · epoch 81 · 3 min 10 s left"]


def test_a_step_without_progress_promises_no_time(plain, clock, lines):
    plain.stage("measure", 1, 1)
    clock.now_s += 10
    plain.step(0, 5)
    clock.now_s += 10
    plain.step(5, 5, "done")
    assert lines[1:] == ["      0 %", "      100 % · done"]


def test_a_wait_is_a_line_a_minute_and_no_part_of_the_remaining_time(plain, clock, lines):
    plain.stage("measure", 1, 1)
    plain.step(0, 10)
    clock.now_s += 10
    plain.step(5, 10)
    plain.note("waiting for another")
    for _ in range(4 * 345):  # as often as the lock is tried
        SubProgress(plain, 0.5, 1.0, "latency").waiting("waiting")
        clock.now_s += 0.25
    clock.now_s += 10 - 0.25
    plain.step(10, 20)
    assert lines[1:3] == ["      50 % · 10.0 s left", "      waiting for another"]
    assert lines[3:-1] == ["      waiting"] * 5
    assert lines[-1] == "      50 % · 20.0 s left"  # ten steps took 20 s of work


def test_every_wait_is_told_anew(plain, clock, lines):
    plain.stage("measure", 1, 1)
    for _ in range(2):
        plain.waiting("waiting")
        clock.now_s += 59
        plain.waiting("waiting")
        plain.step(0, 0)
    assert "      waiting" not in lines


def _board(*, done: int, running: int, left_s: float | None) -> Board:
    row = Row("trainings", queued=3 - done - running, running=running, done=done, failed=0, remaining_s=left_s)
    return Board((row,), {"teacher": "35 % epoch 7/20", "alone": ""} if running else {})


def test_the_lines_of_a_board_follow_what_begins_and_ends(plain, clock, lines):
    for second in range(30):
        clock.now_s += 1
        plain.board(_board(done=1 if second >= 20 else 0, running=2, left_s=90 - second))
    assert lines == [
        "      trainings: 1 queued, 2 running, 0 done, 1 min 26 s left",
        "      trainings: 2 running, 1 done, 1 min 10 s left",
    ]
    plain.board(_board(done=2, running=1, left_s=60))
    clock.now_s += 1
    plain.board(_board(done=3, running=0, left_s=None))  # the last line is never left out
    assert lines[-1] == "      trainings: 3 done"


def test_of_a_board_that_does_not_change_there_are_lines_every_ten_minutes(plain, clock, lines):
    for _ in range(25):
        clock.now_s += 60
        plain.board(_board(done=0, running=2, left_s=7200 + 100.0 - clock.now_s))
    first = "      trainings: 1 queued, 2 running, 0 done, "
    running = ["      teacher: 35 % epoch 7/20", "      alone"]
    assert lines == [
        f"{first}1 h 59 min left",
        *[f"{first}1 h 49 min left", *running],
        *[f"{first}1 h 39 min left", *running],
    ]


def test_notes_are_not_throttled(plain, lines):
    plain.note("one")
    plain.note("two")
    assert lines == ["      one", "      two"]


@pytest.mark.parametrize("quiet", [True, False])
def test_the_folder_reaches_the_session(quiet):
    session = Invocation()
    with watching(session, quiet=quiet) as progress:
        progress.folder(Path("runs/x"))
    assert session.folder == Path("runs/x")


def test_quiet_writes_nothing(capsys):
    with watching(Invocation(), quiet=True) as progress:
        progress.stage("train", 1, 1)
        progress.step(1, 2, "detail")
        progress.note("note")
    assert capsys.readouterr() == ("", "")
    assert isinstance(progress, QuietProgress)


def test_without_a_terminal_progress_is_lines_on_standard_error(capsys):
    with watching(Invocation(), quiet=False) as progress:
        progress.stage("train", 1, 3)
    assert capsys.readouterr() == ("", "[1/3] train\n")


def test_on_a_terminal_every_stage_has_a_bar_and_the_earlier_ones_are_full(clock):
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    screen = io.StringIO()
    columns = (TextColumn("{task.description}"), TextColumn("{task.fields[time]}"))
    with Progress(*columns, console=Console(file=screen, force_terminal=True), auto_refresh=False) as display:
        live = LiveProgress(Invocation(), display, clock_s=clock)
        live.stage("train [teacher]", 1, 2)
        live.step(0, 10)
        clock.now_s += 3
        live.step(3, 10, "epoch 3")
        first = display.tasks[0]
        assert (first.percentage, first.fields["time"], first.fields["detail"]) == (30, "7.0 s left", "epoch 3")
        clock.now_s += 7
        live.stage("export", 2, 2)
        assert (first.percentage, first.finished, first.fields["time"]) == (100, True, "10.0 s")
        second = display.tasks[1]
        live.step(1, 4)
        live.note("a [note] in brackets")
        assert (first.description, second.description) == ("train [teacher]", "export")
        assert (second.percentage, second.finished, second.fields["place"]) == (25, False, "[2/2]")
        live.close()
        assert second.finished
    assert "a [note] in brackets" in screen.getvalue()


@pytest.mark.parametrize("width", ["60", "80", "200"])
def test_a_narrow_terminal_shortens_the_detail_and_nothing_else(monkeypatch, width):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", width)
    with watching(Invocation(), quiet=False) as progress:
        progress.stage("train [teacher]", 1, 2)
        progress.step(3, 10, "epoch 3 of 10, loss 0.1234, validation 98.15 %, and more than fits into most lines")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    last = [line for line in plain.splitlines() if "train" in line][-1]
    assert "[1/2] train [teacher]" in last
    assert re.search(r" \d+\.\d s +epoch 3", last)
    assert len(last) <= int(width)


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        return True
