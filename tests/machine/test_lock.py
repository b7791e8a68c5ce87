"""One measurement at a time."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kdbench.errors import StorageError
from kdbench.machine import lock
from kdbench.machine.lock import machine_lock


class Watcher:
    """Lets go of what the lock waits for as soon as the wait is told."""

    def __init__(self, release=lambda: None):
        self.notes, self.waits, self._release = [], [], release

    def note(self, text):
        self.notes.append(text)

    def waiting(self, detail):
        self.waits.append(detail)
        self._release()


@pytest.fixture(autouse=True)
def _machine(tmp_path, monkeypatch):
    monkeypatch.setenv("KDBENCH_LOCK_DIR", str(tmp_path))


def test_a_free_lock_is_taken_without_a_word():
    watcher = Watcher()
    with machine_lock(watcher):
        pass
    with machine_lock(watcher):
        pass
    assert (watcher.notes, watcher.waits) == ([], [])


def test_a_second_measurement_waits_visibly_for_the_first():
    held, release, order = threading.Event(), threading.Event(), []

    def first():
        with machine_lock(Watcher()):
            held.set()
            release.wait(10)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    assert held.wait(10)
    watcher = Watcher(release.set)
    with machine_lock(watcher):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert watcher.notes == ["another kdbench is measuring on this machine: waiting for it to finish"]
    assert "waiting for another measurement" in watcher.waits[0]


def test_the_lock_of_a_process_that_is_killed_is_free():
    code = """
import time
from kdbench.machine.lock import machine_lock
from kdbench.progress import Silent
with machine_lock(Silent()):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    watcher = Watcher(holder.kill)
    with machine_lock(watcher):
        assert len(watcher.notes) == 1
    holder.communicate()


def test_everyone_may_open_the_lock_and_it_is_left_for_the_next(tmp_path):
    with machine_lock(Watcher()):
        pass
    (lock,) = tmp_path.iterdir()
    if sys.platform != "win32":
        assert lock.stat().st_mode & 0o777 == 0o666


@pytest.mark.parametrize("obstacle", ["folder", "file"])
def test_where_there_can_be_no_lock_that_is_said(tmp_path, monkeypatch, obstacle):
    place = tmp_path / "place"
    if obstacle == "folder":
        (place / lock.LOCK).mkdir(parents=True)
    else:
        place.write_text("no folder")
    monkeypatch.setenv("KDBENCH_LOCK_DIR", str(place))
    with pytest.raises(StorageError, match="measuring lock") as error, machine_lock(Watcher()):
        pass
    assert "KDBENCH_LOCK_DIR" in error.value.hint


def test_the_locks_folder_may_be_in_the_home_folder(tmp_path, monkeypatch):
    """Where no shell replaces the `~`; a folder of that name would be another one in each working directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KDBENCH_LOCK_DIR", "~/locks")
    with machine_lock(Watcher()):
        assert (tmp_path / "locks" / lock.LOCK).exists()


def test_a_temporary_folder_of_ones_own_is_not_the_machines(tmp_path, monkeypatch):
    monkeypatch.delenv("KDBENCH_LOCK_DIR")
    monkeypatch.setattr(lock, "_SHARED", tmp_path / "shared")
    monkeypatch.setattr(lock.tempfile, "gettempdir", lambda: str(tmp_path / "own"))
    (tmp_path / "shared").mkdir()
    with machine_lock(Watcher()):
        assert [path.parent.name for path in Path(tmp_path).glob("*/*.lock")] == ["shared"]
