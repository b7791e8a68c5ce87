"""The lock that lets only one process at a time measure on a machine."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kdbench.errors import StorageError
from kdbench.files.storage import with_home
from kdbench.processes import locks
from kdbench.progress import Progress

LOCK = "kdbench-measuring.lock"
FOLDER_VARIABLE = "KDBENCH_LOCK_DIR"  # names the lock's folder, for machines where not all processes share /tmp
_SHARED = Path("/tmp")  # noqa: S108 - one for all users and jobs, unlike TMPDIR
_MODE_FOR_ALL = 0o666  # users who come later must be able to open it
_RETRY_S = 0.25  # rarely: a waiting process must not disturb the measurement


@contextmanager
def machine_lock(progress: Progress, lock_name: str = LOCK) -> Iterator[None]:
    """Hold this machine's measuring lock, a file in KDBENCH_LOCK_DIR or /tmp; show progress while waiting for it.

    Another `lock_name` is another lock, for work that measures several times and must not be interrupted in between.
    Measuring processes share the lock, so that it is held until the last of them has ended, even if this process is
    killed. Raises StorageError if no lock can be created.
    """
    begin, waiting = time.monotonic(), False
    while (descriptor := _try(lock_name)) is None:
        if not waiting:
            progress.note("another kdbench is measuring on this machine: waiting for it to finish")
        waiting = True
        progress.waiting(f"waiting for another measurement, {time.monotonic() - begin:.0f} s")
        time.sleep(_RETRY_S)
    try:
        yield
    finally:
        locks.release(descriptor)


def _try(lock_name: str) -> int | None:
    """Return the lock's descriptor; None while another process holds it."""
    file = Path(lock_name)
    try:
        folder = _folder()
        file = folder / lock_name
        folder.mkdir(parents=True, exist_ok=True)
        return locks.acquire(file, mode=_MODE_FOR_ALL, share=True)
    except OSError as error:
        message = f"cannot hold the measuring lock at {file}: {error.strerror or error}"
        hint = f"set {FOLDER_VARIABLE} to a folder that everyone who measures on this machine may write to"
        raise StorageError(message, hint) from error


def _folder() -> Path:
    """Return the lock's folder; raises OSError if there is none."""
    if named := os.environ.get(FOLDER_VARIABLE):
        return with_home(named)
    return _SHARED if os.access(_SHARED, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
