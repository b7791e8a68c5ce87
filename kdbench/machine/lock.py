"""Only one measurement at a time on a machine."""

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
FOLDER = "KDBENCH_LOCK_DIR"  # the variable that names the folder, where /tmp is not the whole machine's
_SHARED = Path("/tmp")  # noqa: S108 - one for all users and jobs, which TMPDIR is not
_LOOK_AGAIN_S = 0.25


@contextmanager
def alone_on_machine(progress: Progress, lock_name: str = LOCK) -> Iterator[None]:
    """Hold this machine's measuring lock, a file in KDBENCH_LOCK_DIR or /tmp; wait for it visibly.

    Another `lock_name` is another lock: of work that measures several times and is to be alone all the while. A lock
    goes with the process that holds it, however that ends. Raises StorageError where there can be no lock.
    """
    path = _folder() / lock_name
    lock = FileLock(path, mode=0o666)  # whoever comes first, others must be able to open it
    begin = time.monotonic()
    told = False
    while True:
        try:
            # Looked at rarely: whoever waits must not wake up beside what is being measured more often than needed.
            lock.acquire(timeout=_LOOK_AGAIN_S if told else 0, poll_interval=_LOOK_AGAIN_S)
            break
        except Timeout:
            if not told:
                progress.note("another kdbench is measuring on this machine: waiting for it to finish")
            told = True
            progress.step(0, 1, f"waiting for another measurement, {time.monotonic() - begin:.0f} s")
        except OSError as error:
            raise _no_lock(path, error) from error
    try:
        yield
    finally:
        lock.release()


def _folder() -> Path:
    """Return the folder of the lock, made where it was not there."""
    named = os.environ.get(FOLDER)
    folder = Path(named) if named else _SHARED if os.access(_SHARED, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_lock(folder, error) from error
    return folder


def _no_lock(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"no measuring lock can be held at {path}: {error.strerror or error}",
        f"let {FOLDER} name a folder that everyone who measures on this machine may write to",
    )
