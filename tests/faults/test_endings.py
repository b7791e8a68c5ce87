"""A small part of `python -m benchmarks.faults endings`: a report that is ended, and one on a full disk."""

import json
import os
import subprocess

import pytest

from benchmarks.faults.blocks import endings
from benchmarks.faults.commands import leftovers, start
from benchmarks.faults.material.small_record import small_record
from benchmarks.faults.situations.disks import DISK_WORDS
from kdbench.cli.main import main

REPORT = ("report", "run", "--format", "csv,json", "--out", "out")


@pytest.fixture
def place(tmp_path):
    """Return a folder with a run."""
    for name in ("run", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "run" / "record.json").write_text(json.dumps(small_record()))
    return tmp_path


@pytest.mark.parametrize(
    ("ending", "delay_s"), [("SIGTERM", 0.1), ("SIGINT twice", 0.2), ("SIGTERM stopped", 0.3), ("SIGKILL", 0.4)]
)
def test_nothing_is_left_however_a_command_ends(place, ending, delay_s, monkeypatch):
    processes = []

    def start_in(command, folder):
        processes.append(start(folder, *command, log=".stderr"))
        return processes[-1].pid

    done, faults = endings.signalled(start_in, REPORT, place, ending, delay_s)
    written = "out/report.json" in done.errors  # behind this last line, Python ends the process, and nothing is excused
    if ending.startswith("SIGINT") and done.code not in {0, 130} and not written:
        assert "KeyboardInterrupt" in done.errors  # Python's own end, before kdbench watches
        faults = []
    assert faults == []
    monkeypatch.chdir(place)
    assert main([*REPORT]) == 0
    assert leftovers(place) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk")
def test_a_full_disk_is_named_and_the_rest_stays(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    (place / "out").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(place / "out")]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount")
    try:
        assert main([*REPORT]) == 3
        assert any(words in capsys.readouterr().err for words in DISK_WORDS)
        assert leftovers(place) == ""
    finally:
        subprocess.run(["umount", "-l", str(place / "out")], check=True)
