"""One process in a run's folder: the second is told who, and a dead one's claim is taken over."""

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kdbench.errors import InputError
from kdbench.files.claim import CLAIM, claimed, require_free
from kdbench.results.run_folder import choose_folder, require_unused

HOLDER = """
import sys, time
from pathlib import Path
from kdbench.files.claim import claimed
with claimed(Path(sys.argv[1])):
    (Path(sys.argv[1]) / ".samples.npz.1.part").touch()
    print("claimed", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", HOLDER, folder], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "claimed\n"
    yield process, folder
    process.kill()
    process.communicate()


def test_the_second_is_told_who_has_the_folder(holder):
    process, folder = holder
    who = f"in use by process {process.pid} on {platform.node()} since 20"
    with pytest.raises(InputError, match=who), claimed(folder):
        pass
    with pytest.raises(InputError, match=who):
        require_unused(folder, resume=True)
    assert (folder / CLAIM).exists()


def test_a_dead_process_s_claim_is_taken_over_and_its_leftovers_swept(holder):
    process, folder = holder
    process.send_signal(signal.SIGKILL)
    process.wait()
    require_free(folder)
    with claimed(folder), pytest.raises(InputError, match=f"process {os.getpid()} "):
        require_free(folder)
    assert list(folder.iterdir()) == []


def test_a_folder_that_does_not_exist_is_free_and_not_made(tmp_path):
    require_free(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_asking_makes_no_claim_of_one_that_ends_at_that_moment(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "is_file", lambda _: True)  # it was there
    require_free(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_claim_still_keeps_others_out(holder):
    _, folder = holder
    (folder / CLAIM).write_text("[1]")
    with pytest.raises(InputError, match="another process"):
        require_free(folder)


@pytest.mark.parametrize("link", ["symbolic", "hard"])
def test_a_foreign_file_is_not_written(tmp_path, link):
    folder, victim = tmp_path / "run", tmp_path / "victim"
    folder.mkdir()
    victim.write_text("precious")
    if link == "hard":
        (folder / CLAIM).hardlink_to(victim)
    else:
        (folder / CLAIM).symlink_to(victim)
    from kdbench.errors import StorageError

    with pytest.raises(StorageError), claimed(folder):
        pass
    assert victim.read_text() == "precious"


def test_resuming_the_newest_run_asks_whether_it_is_free(holder, monkeypatch, tmp_path):
    _, folder = holder
    (folder / "recipe.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "r-20260101-000000").symlink_to(folder)
    with pytest.raises(InputError, match="in use by process"):
        choose_folder("r", None, resume=True)
