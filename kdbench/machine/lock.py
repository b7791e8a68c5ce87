"""The lock that lets only one process at a time measure on a machine."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from kdbench.errors import StorageError
from kdbench.progress import Progress

LOCK = "kdbench-measuring.lock"
FOLDER_VARIABLE = "KDBENCH_LOCK_DIR"  # names the lock's folder, for machines where not all processes share /tmp
_SHARED = Path("/tmp")  # noqa: S108 - one for all users and jobs, unlike TMPDIR
_RETRY_S = 0.25  # rarely: a waiting process must not disturb the measurement


@contextmanager
def machine_lock(progress: Progress, lock_name: str = LOCK) -> Iterator[None]:
    """Hold this machine's measuring lock, a file in KDBENCH_LOCK_DIR or /tmp; show progress while waiting for it.

    Another `lock_name` is another lock, for work that measures several times and must not be interrupted in between.
    The lock is released when the process ends, however it ends. Raises StorageError if no lock can be created.
    """
    path = _folder() / lock_name
    lock = FileLock(path, mode=0o666)  # users who come later must be able to open it
    begin = time.monotonic()
    waiting = False
    while True:
        try:
            lock.acquire(timeout=_RETRY_S if waiting else 0, poll_interval=_RETRY_S)
            break
        except Timeout:
            if not waiting:
                progress.note("another kdbench is measuring on this machine: waiting for it to finish")
            waiting = True
            progress.step(0, 1, f"waiting for another measurement, {time.monotonic() - begin:.0f} s")
        except OSError as error:
            raise _lock_error(path, error) from error
    try:
        yield
    finally:
        lock.release()


def _folder() -> Path:
    """Return the folder of the lock; create it if necessary."""
    named = os.environ.get(FOLDER_VARIABLE)
    folder = Path(named) if named else _SHARED if os.access(_SHARED, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _lock_error(folder, error) from error
    return folder


def _lock_error(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot hold the measuring lock at {path}: {error.strerror or error}",
        f"set {FOLDER_VARIABLE} to a folder that everyone who measures on this machine may write to",
    )
