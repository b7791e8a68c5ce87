"""A small part of `python -m benchmarks.faults doors`: hostile names that come in by other ways than a record."""

import pytest

from benchmarks.faults.blocks import doors
from benchmarks.faults.inspection import problems, unsafe_in_log
from kdbench.cli.main import main

TEXT = "=cmd|' <b>@octocat</b> ``<img src=x>` [a](https://evil.example) \x1b[31m\u202e"


@pytest.mark.parametrize("door", ["target", "option", "model file"])
def test_names_are_text_by_whatever_door_they_come(door, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = TEXT.replace("/", ":") if door == "model file" else TEXT
    for command in doors.DOORS[door](text, tmp_path):
        code = main([str(word) for word in command])
        shown = capsys.readouterr()
        assert code in {0, 1, 2, 3}
        assert unsafe_in_log(shown.out + shown.err) == []
        if code == 3:
            assert "error: " in shown.err
            break
    written = [path for path in (tmp_path / "out", tmp_path / "written") if path.is_dir()]
    assert [problem for folder in written for problem in problems(folder)] == []
