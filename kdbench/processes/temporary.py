"""Temporary files and folders, which are removed however their process ends.

Each is locked while its owner runs. The lock of a killed process is free, and the next process that works in the same
folder removes its files. Locks are local to a machine: if machines share a folder, each removes the others' files only
after a day.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO

from kdbench.errors import StorageError
from kdbench.processes import cleanup, locks

_PART = ".part"
_PREFIX = "kdbench-work-"
_TRIES = 5
_LOCK_TRIES, _PAUSE_S = 250, 0.02  # other processes hold a file's lock only briefly
_OLD_S = 86_400.0  # longer than writing any file takes
_LISTED = 100  # names that may be listed per file written
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_tempdir = threading.RLock()  # the folder of temporary files is the whole process's
_skips: dict[Path, int] = {}  # how many more files are written before a large folder is listed again


@contextlib.contextmanager
def part_of(path: Path) -> Iterator[Path]:
    """Yield the path of a new file beside `path`, for its next content; remove the new file when the block ends.

    Raises OSError if the file cannot be created.
    """
    for name in _names(path.parent, f".{path.name}."):
        _remove_if_dead(path.parent / name)
    part = path.with_name(f".{path.name}.{_host()}-{os.getpid()}{_PART}")
    lock = _locked(part)
    try:
        with cleanup.undo_at_end(lambda: part.unlink(missing_ok=True)):
            yield part
    finally:
        if lock is not None:
            locks.release(lock)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Yield a new folder among the system's temporary files; remove it when the block ends.

    Raises StorageError if it cannot be created, or if the block finds its disk full.
    """
    with _explained():
        parent = Path(tempfile.gettempdir())
        _sweep_folders(parent)
        path, lock = _locked_folder(parent)
    with cleanup.undo_at_end(lambda: remove(path)):
        try:
            yield path
        except OSError as error:
            # Libraries write to files of theirs, whose errors name no file; those of a copy name its target second.
            written = error.filename2 or error.filename or path
            if error.errno not in _FULL or not Path(written).is_relative_to(path):
                raise
            raise _unwritable(error) from error
        finally:
            if lock is not None:
                os.close(lock)


@contextlib.contextmanager
def for_libraries() -> Iterator[None]:
    """Let libraries put their temporary files into a `folder` while the block runs.

    A process that is killed cannot remove them. In the folder, which is locked, another process can.
    """
    with _tempdir, folder() as path:
        before, tempfile.tempdir = tempfile.tempdir, str(path)
        try:
            yield
        finally:
            tempfile.tempdir = before


def file() -> IO[bytes]:
    """Return a temporary file without a name; raises StorageError if it cannot be created."""
    with _explained():
        return tempfile.TemporaryFile()


def remove(path: Path) -> None:
    """Remove a folder; try several times, because another thread may still write to it."""
    for _ in range(_TRIES):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return


def sweep(path: Path) -> None:
    """Remove the unfinished files that dead processes left anywhere below `path`."""
    for parent, _, files in os.walk(path):
        for name in files:
            if name.startswith(".") and name.endswith(_PART):
                _remove_if_dead(Path(parent, name))


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unwritable(error) from error


def _unwritable(error: OSError) -> StorageError:
    place = "on a disk with space" if error.errno in _FULL else "that you may write to"
    hint = "raise the limit with ulimit -f" if error.errno == errno.EFBIG else f"set TMPDIR to a folder {place}"
    return StorageError(f"no temporary files can be written: {error.strerror or error}", hint)


def _locked(part: Path) -> int | None:
    """Create a file and return its lock; None if the file system has no locks. Raises OSError.

    A process that sweeps may lock and remove the file before this process locks it: then it is created again.
    """
    for left in reversed(range(_LOCK_TRIES)):
        try:
            lock = locks.acquire(part)
        except OSError as error:
            if error.errno not in locks.NO_LOCKS:
                raise
            return None
        if lock is not None:
            return lock
        if left:
            time.sleep(_PAUSE_S)
    raise OSError(errno.EBUSY, "another process holds its lock", str(part))


def _names(parent: Path, prefix: str) -> list[str]:
    """Return the names of unfinished files in a folder that begin with `prefix`; none if listing is skipped.

    A folder of thousands of files is listed rarely, so that the time per written file does not grow.
    """
    if skips := _skips.pop(parent, 0):
        _skips[parent] = skips - 1
        return []
    try:
        names = os.listdir(parent)  # noqa: PTH208 - names
    except OSError:
        return []
    if len(names) > _LISTED:
        _skips[parent] = len(names) // _LISTED
    return [name for name in names if name.startswith(prefix) and name.endswith(_PART)]


@cache
def _host() -> str:
    """Return a short hash of this machine's, or this container's, name: process ids are unique within it."""
    space = os.uname().nodename
    with contextlib.suppress(OSError):
        space += str(Path("/proc/self/ns/pid").readlink())
    return f"{zlib.crc32(space.encode()):08x}"


def _remove_if_dead(part: Path) -> None:
    with contextlib.suppress(OSError):
        host, elsewhere, _ = part.name.removesuffix(_PART).rpartition(".")[2].partition("-")
        if elsewhere and host != _host() and time.time() - part.stat().st_mtime < _OLD_S:
            return  # locks of another machine are not visible here
        lock = locks.acquire(part, make=False)
        if lock is not None:
            part.unlink(missing_ok=True)
            locks.release(lock)


def _locked_folder(parent: Path) -> tuple[Path, int | None]:
    """Return a new folder in `parent` and its lock; None if the file system has no locks. Raises OSError.

    A process that sweeps may remove the folder before this process locks it: then another one is created.
    """
    for _ in range(_TRIES):
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        try:
            lock = locks.lock_folder(path)
        except FileNotFoundError:
            continue
        except OSError:
            return path, None
        if lock is not None:
            return path, lock
    raise OSError(errno.EBUSY, "other processes remove new folders there", str(parent))


def _sweep_folders(parent: Path) -> None:
    """Remove this user's folders in `parent` whose processes are dead."""
    with os.scandir(parent) as entries:
        named = [entry for entry in entries if entry.name.startswith(_PREFIX)]
    for entry in named:
        with contextlib.suppress(OSError):
            if entry.stat(follow_symlinks=False).st_uid != os.geteuid():
                continue
            lock = locks.lock_folder(Path(entry.path))
            if lock is not None:
                remove(Path(entry.path))
                os.close(lock)
