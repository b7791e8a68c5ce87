"""What stands in a record's place and is no such file: it is refused in words, and stays what it is."""

import pytest

from benchmarks.faults import strange
from kdbench.cli.main import main


@pytest.mark.parametrize(
    "kind",
    ["pipe", "folder", "socket", "link to itself", "link to /dev/zero", "link to memory", "file of 3 GiB of nothing"],
)
def test_what_is_no_record_is_refused(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    strange.KINDS[kind](tmp_path / "out" / "record.json")
    for command in (["report", "out"], ["ready", "out", "--target", "server-cpu"], ["history", "out"]):
        assert main(command) == 3, command
        assert "error: " in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["record.json"]
