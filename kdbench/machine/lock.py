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
    shared = _SHARED if os.access(_SHARED, os.W_OK | os.X_OK) else tempfile.gettempdir()
    folder = Path(os.environ.get(FOLDER_VARIABLE) or shared)
    lock = FileLock(folder / lock_name, mode=0o666)  # users who come later must be able to open it
    begin, waiting = time.monotonic(), False
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=_RETRY_S if waiting else 0, poll_interval=_RETRY_S)
            break
        except Timeout:
            if not waiting:
                progress.note("another kdbench is measuring on this machine: waiting for it to finish")
            waiting = True
            progress.step(0, 1, f"waiting for another measurement, {time.monotonic() - begin:.0f} s")
        except OSError as error:
            message = f"cannot hold the measuring lock at {folder / lock_name}: {error.strerror or error}"
            hint = f"set {FOLDER_VARIABLE} to a folder that everyone who measures on this machine may write to"
            raise StorageError(message, hint) from error
    try:
        yield
    finally:
        lock.release()
