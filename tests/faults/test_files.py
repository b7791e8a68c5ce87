"""What stands in a record's place and is no such file: it is refused in words, and stays what it is."""

import json
import random

import numpy as np
import pytest

from benchmarks.faults.material import archives, strange
from benchmarks.faults.material.small_record import small_record
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


@pytest.mark.parametrize("how", archives.WAYS)
def test_damaged_samples_are_refused_or_not_needed(how, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "record.json").write_text(json.dumps(small_record()))
    np.savez("samples.npz", floor_ns=np.arange(4), other=np.arange(4))
    archives.damage(tmp_path / "samples.npz", random.Random(0), how)
    for command in (["report", ".", "--format", "csv"], ["compare", ".", "."]):
        code, errors = main(command), capsys.readouterr().err
        assert code in ({3} if how == "bomb" else {0, 1, 2, 3}), errors
        assert code != 3 or "samples.npz" in errors
