"""Temporary files and folders: gone with their process, swept where it was killed, left alone while it lives."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from kdbench.errors import StorageError
from kdbench.files import storage
from kdbench.processes import cleanup, locks, temporary


@contextmanager
def other_process(code):
    """A process that says what it made, and can be killed while it holds it."""
    imports = "from pathlib import Path; from kdbench.files import storage; from kdbench.processes import temporary"
    head = f"import sys; {imports}\n"
    process = subprocess.Popen([sys.executable, "-c", head + code], stdout=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def writer(path):
    return f"""
with storage.writing(Path({str(path)!r})) as stream:
    stream.write(b"half")
    print("writing", flush=True)
    sys.stdin.read()
    __import__("time").sleep(600)
"""


def test_the_file_of_a_killed_process_is_swept_and_that_of_a_living_one_is_not(tmp_path):
    file = tmp_path / "below" / "samples.npz"
    file.parent.mkdir()
    with other_process(writer(file)) as (process, _):
        (part,) = file.parent.iterdir()
        temporary.sweep(tmp_path)
        assert part.exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
        temporary.sweep(tmp_path)
        assert list(file.parent.iterdir()) == []


def test_writing_a_file_again_removes_what_a_killed_process_left_of_it(tmp_path):
    file = tmp_path / "comment.md"
    with other_process(writer(file)) as (process, _):
        process.kill()
        process.wait()
    (tmp_path / ".other.md.1.part").write_text("of another file")
    storage.write_text(file, "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.md.1.part", "comment.md"]


def test_a_folder_of_many_files_is_not_listed_for_each_that_is_written(tmp_path, monkeypatch):
    for number in range(950):
        (tmp_path / f"{number}.json").touch()
    listed, real = [], os.listdir
    monkeypatch.setattr(temporary.os, "listdir", lambda path: listed.append(path) or real(path))
    left = tmp_path / ".last.json.1.part"
    left.touch()
    for number in range(20):
        with temporary.part_of(tmp_path / f"{number}.json"):
            pass
    assert len(listed) == 2
    for _ in range(10):
        with temporary.part_of(tmp_path / "last.json"):
            pass
    assert len(listed) == 3
    assert not left.exists()


def test_what_another_machine_writes_to_a_shared_folder_is_left_alone_until_it_is_old(tmp_path, monkeypatch):
    file = tmp_path / "table.npy"
    monkeypatch.setattr(temporary, "_host", lambda: "elsewhere")
    with temporary.part_of(file) as part:
        part.touch()
    monkeypatch.undo()
    part.write_text("half")  # unlocked, as it looks from here
    temporary.sweep(tmp_path)
    storage.write_text(file, "whole")
    assert part.exists()
    os.utime(part, (0, 0))
    temporary.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["table.npy"]


def test_a_file_that_a_sweep_finds_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    real, sweeper = locks.acquire, []

    def acquire(path, **options):
        if not sweeper:
            sweeper.append(real(path))  # another process is faster
        elif sweeper[0] is not None:
            path.unlink()
            locks.release(sweeper[0])
            sweeper[0] = None
        return real(path, **options)

    monkeypatch.setattr(temporary.locks, "acquire", acquire)
    with storage.writing(tmp_path / "file") as stream:
        stream.write(b"whole")
        (part,) = tmp_path.iterdir()
        assert real(part) is None, "it is not locked"
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_a_sweep_makes_no_file_of_one_that_its_owner_renamed(tmp_path, monkeypatch):
    names = [".file.1.part"]
    monkeypatch.setattr(temporary.os, "walk", lambda path: [(str(path), [], names)])
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: pytest.fail(f"{path} was made"))
    temporary.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "plain").write_text("")
    storage.write_text(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_a_folder_of_a_killed_process_is_swept_by_the_next(place):
    (place / "kdbench-results").mkdir()  # a user's
    code = """
with temporary.folder() as f:
    (f / "x").touch()
    print(f, flush=True)
    __import__("time").sleep(600)
"""
    with other_process(code) as (process, theirs):
        with temporary.folder():
            assert Path(theirs).exists()
        process.kill()
        process.wait()
        with temporary.folder() as ours:
            assert {path.name for path in place.iterdir()} == {"kdbench-results", ours.name}
    assert [path.name for path in place.iterdir()] == ["kdbench-results"]


@pytest.mark.parametrize("half", [False, True], ids=["removed", "being removed"])
def test_a_folder_that_another_process_sweeps_before_it_is_locked_is_made_again(tmp_path, monkeypatch, half):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mkdtemp, made = tempfile.mkdtemp, []

    def swept_at_first(**options):
        made.append(mkdtemp(**options))
        if len(made) == 1 and half:
            locks.lock_folder(Path(made[0]))
        elif len(made) == 1:
            temporary._sweep_folders(tmp_path)
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", swept_at_first)
    with temporary.folder() as folder:
        assert str(folder) == made[1]
        (folder / "kept").touch()
        temporary._sweep_folders(tmp_path)
        assert (folder / "kept").exists()


def test_an_end_in_the_middle_undoes_what_is_pending_the_latest_first(place):
    calls = []
    with temporary.folder() as folder, cleanup.undo_at_end(lambda: calls.append(folder.exists())):
        cleanup.undo_all()
        assert calls == [True]
        assert not folder.exists()
    cleanup.undo_all()
    assert calls == [True, False]  # the second is the block's own end, and nothing is pending after it


def test_without_a_place_for_temporary_files_that_is_said(monkeypatch):
    monkeypatch.setattr(tempfile, "gettempdir", lambda: (_ for _ in ()).throw(FileNotFoundError(2, "no usable folder")))
    with pytest.raises(StorageError, match="no usable folder") as caught, temporary.folder():
        pass
    assert "TMPDIR" in caught.value.hint


def test_files_of_libraries_are_in_a_folder_that_the_next_process_sweeps(place):
    with temporary.for_libraries():
        made = Path(tempfile.mkdtemp())
        assert made.parent.parent == place
        assert made.parent.name.startswith("kdbench-work-")
    assert list(place.iterdir()) == []
    assert tempfile.gettempdir() == str(place)


def test_a_disk_that_is_full_of_temporary_files_is_not_taken_for_that_of_the_results(place):
    message = "no temporary files can be written: No space left on device"
    with pytest.raises(StorageError, match=message) as caught, temporary.folder():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.hint == "set TMPDIR to a folder on a disk with space"
    with pytest.raises(OSError, match="No space"), temporary.folder():
        raise OSError(errno.ENOSPC, "No space left on device", "results/model.onnx")
    with pytest.raises(OSError, match="No space"), temporary.folder() as folder:  # as shutil.copyfile raises it
        raise OSError(errno.ENOSPC, "No space left on device", folder / "model.onnx", None, "results/model.onnx")


def test_the_size_limit_of_files_is_no_reason_for_another_folder(place):
    with pytest.raises(StorageError) as caught, temporary.folder():
        raise OSError(errno.EFBIG, "File too large")
    assert caught.value.hint == "raise the limit with ulimit -f"


def test_one_thread_at_a_time_places_the_files_of_libraries(place):
    """The place is the process's: the first to end would remove the files of the others."""
    with temporary.for_libraries(), ThreadPoolExecutor(1) as pool:
        with temporary.for_libraries():
            assert Path(tempfile.gettempdir()).parent.parent == place
        assert not pool.submit(temporary._tempdir.acquire, blocking=False).result()
