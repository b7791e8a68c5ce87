"""The claim on a run's folder: only one process works in it; any other gets an error that names that process."""

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kdbench.errors import InputError, StorageError
from kdbench.files import storage
from kdbench.processes import cleanup, locks, temporary

CLAIM = ".in-use"
_TRIES = 5  # a process that checks whether a folder is free holds its lock for a moment
_PAUSE_S = 0.05
_MAX_BYTES = 4096


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Create `folder` and claim it for this process and its children while the block runs.

    Removes unfinished files of dead processes from it. Raises InputError if another process works in the folder, with
    the id of that process, and StorageError if nothing can be written there.
    """
    file = storage.make_folder(folder) / CLAIM
    lock = None
    try:
        for remaining in reversed(range(_TRIES)):
            lock = locks.acquire(file, share=True)
            if lock is not None or not remaining:
                break
            time.sleep(_PAUSE_S)
        if lock is None:
            raise _in_use(folder)
        with contextlib.ExitStack() as stack:
            stack.callback(locks.release, lock)
            stack.enter_context(cleanup.undo_at_end(lambda: file.unlink(missing_ok=True)))
            _write_owner(lock, file)
            temporary.sweep(folder)
            yield
    except OSError as error:
        raise storage.storage_error(error, Path(error.filename or file)) from error


def require_free(folder: Path) -> None:
    """Raise InputError if a process works in `folder`, which need not exist; create nothing."""
    file = folder / CLAIM
    try:
        if not file.is_file():
            return
        lock = locks.acquire(file, make=False)
    except OSError:
        return  # its owner has finished; any other error is for `claimed` to report
    if lock is None:
        raise _in_use(folder)
    locks.release(lock)


def _in_use(folder: Path) -> InputError:
    owner = _owner(folder / CLAIM)
    user = f"process {owner['pid']} on {owner['host']} since {owner['since']}" if owner else "another process"
    hint = "wait until it is done, or choose another folder with --out"
    return InputError(f"{folder} is in use by {user}", hint)


def _write_owner(lock: int, file: Path) -> None:
    """Write this process to the claim's file, in place of an earlier owner."""
    if os.fstat(lock).st_nlink > 1:
        raise StorageError(f"{file} is a link to another file", "choose another folder with --out")
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    text = json.dumps({"pid": os.getpid(), "host": platform.node(), "since": since}).encode()
    os.ftruncate(lock, 0)
    os.pwrite(lock, text, 0)


def _owner(file: Path) -> dict[str, Any] | None:
    """Return what an owner wrote about itself; None if that cannot be read."""
    try:
        with file.open("rb") as stream:
            owner = json.loads(stream.read(_MAX_BYTES))
        return {name: str(owner[name])[:100] for name in ("pid", "host", "since")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
