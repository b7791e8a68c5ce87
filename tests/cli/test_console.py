import io
import subprocess
import sys

import pytest

from kdbench.cli import console


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, True), ({"RANK": "0"}, True), ({"RANK": "3"}, False), ({"SLURM_PROCID": "1"}, False)],
)
def test_rank_zero_of_several_processes(monkeypatch, variables, expected):
    for name in ("RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert console.is_rank_zero() is expected


@pytest.mark.parametrize(
    ("terminal", "variables", "colours", "width"),
    [
        (True, {}, True, 90),
        (True, {"NO_COLOR": "1"}, False, 90),
        (True, {"NO_COLOR": ""}, True, 90),
        (True, {"TERM": "dumb"}, False, 80),
        (False, {}, False, 160),
        (False, {"FORCE_COLOR": "1"}, True, 160),
        (False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, 160),
    ],
)
def test_colours_and_width_follow_the_terminal_and_the_user(monkeypatch, terminal, variables, colours, width):
    from rich.text import Text

    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "LINES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "90", **variables}.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stdout", stream)
    assert console.drawing_console(stream).width == width
    console.result_drawn(Text("n", style="bold red"))
    assert ("\x1b[" in stream.getvalue()) is colours
    assert "n" in stream.getvalue()


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full")
@pytest.mark.parametrize(
    ("redirected", "code"),
    [
        ("report nowhere 2>/dev/full", 3),
        ("report nowhere 2>&-", 3),
        ("--version >&-", 0),
        ("--version >/dev/full", 3),
        ("--version <&-", 0),
    ],
)
def test_the_exit_code_stays_where_nobody_can_be_told(redirected, code, tmp_path):
    kdbench = f"{sys.executable} -P -c 'import sys; from kdbench.cli.main import main; sys.exit(main())'"
    done = subprocess.run(["bash", "-c", f"{kdbench} {redirected}"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == code, done.stderr
