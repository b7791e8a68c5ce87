"""Locks: one owner, several users, files that are not what they seem."""

import os
import stat
import subprocess
import sys

import pytest

from kdbench.processes import locks


def test_one_owner_at_a_time_and_free_afterwards(tmp_path):
    file = tmp_path / "lock"
    lock = locks.acquire(file)
    assert locks.acquire(file) is None
    locks.release(lock)
    again = locks.acquire(file)
    assert again is not None
    locks.release(again)


def test_a_lock_belongs_to_every_process_that_shares_it(tmp_path):
    """The owner gives it back, or is killed: the child keeps it until it ends."""
    file = tmp_path / "lock"
    lock = locks.acquire(file, share=True)
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=locks.shared()
    )
    locks.release(lock)
    assert lock not in locks.shared()
    assert locks.acquire(file) is None
    child.communicate()
    locks.release(locks.acquire(file))


def test_a_lock_that_is_not_shared_is_not_inherited(tmp_path):
    lock = locks.acquire(tmp_path / "lock")
    assert lock not in locks.shared()
    assert not os.get_inheritable(lock)
    locks.release(lock)


def test_an_existing_file_is_not_changed(tmp_path):
    file = tmp_path / "lock"
    file.write_text("foreign")
    file.chmod(0o640)
    locks.release(locks.acquire(file, mode=0o666))
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("foreign", 0o640)


def test_a_new_file_admits_all_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        locks.release(locks.acquire(tmp_path / "all", mode=0o666))
        locks.release(locks.acquire(tmp_path / "mine"))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"all": 0o666, "mine": 0o600}


@pytest.mark.parametrize("what", ["link", "dangling link", "pipe", "folder"])
def test_what_is_no_file_is_not_touched(tmp_path, what):
    file, victim = tmp_path / "lock", tmp_path / "victim"
    match what:
        case "link":
            victim.write_text("precious")
            file.symlink_to(victim)
        case "dangling link":
            file.symlink_to(victim)
        case "pipe":
            os.mkfifo(file)
        case "folder":
            file.mkdir()
    with pytest.raises(OSError, match=r"lock'$"):
        locks.acquire(file, mode=0o666)
    assert victim.exists() == (what == "link")
    assert not victim.exists() or victim.read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes other users")
@pytest.mark.parametrize("users", [(1234, 65534), (1234, 0), (0, 1234)], ids=str)
def test_users_share_a_lock_in_a_sticky_folder(tmp_path, users):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    for folder in (tmp_path, *(path for path in tmp_path.parents if path.name.startswith(("pytest-", "popen-")))):
        folder.chmod(0o755)
    for user in users:
        code = os.fork()
        if code == 0:
            try:
                os.setgid(user)
                os.setuid(user)
                os._exit(0 if locks.acquire(shared / "lock", mode=0o666) is not None else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(code, 0)[1]) == 0


def test_a_file_that_its_last_owner_removed_is_no_lock(tmp_path, monkeypatch):
    """Between opening and locking, the owner removes the file and somebody else makes a new one."""
    file, opened, real = tmp_path / "lock", [], locks._opened

    def open_and_lose(path, mode, **options):
        descriptor = real(path, mode, **options)
        if not opened:
            path.unlink()
            path.write_text("")
        opened.append(descriptor)
        return descriptor

    monkeypatch.setattr(locks, "_opened", open_and_lose)
    lock = locks.acquire(file)
    assert len(opened) == 2
    assert os.path.samestat(os.fstat(lock), file.stat())
    locks.release(lock)


def test_a_block_waits_for_another_and_leaves_no_file(tmp_path):
    file = tmp_path / "lock"
    code = f"""
from pathlib import Path
from kdbench.processes.locks import locked
with locked(Path({str(file)!r})):
    print("held", flush=True)
    input()
print("released", flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    child.stdin.write("\n")
    child.stdin.flush()
    with locks.locked(file):
        assert child.stdout.readline() == "released\n"
    child.communicate()
    assert not file.exists()
