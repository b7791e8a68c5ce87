"""Only one measurement at a time on a machine."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from kdbench.progress import Progress

LOCK = "kdbench-measuring.lock"
_LOOK_AGAIN_S = 0.25


@contextmanager
def alone_on_machine(progress: Progress, folder: Path | None = None) -> Iterator[None]:
    """Hold this machine's measuring lock, a file in `folder` (the system's temporary one); wait for it visibly.

    The lock goes with the process that holds it, however that ends.
    """
    lock = FileLock((folder or Path(tempfile.gettempdir())) / LOCK, mode=0o666)
    begin = time.monotonic()
    told = False
    while True:
        try:
            lock.acquire(timeout=0 if not told else _LOOK_AGAIN_S)
            break
        except Timeout:
            if not told:
                progress.note("another kdbench is measuring on this machine: waiting for it to finish")
            told = True
            progress.step(0, 1, f"waiting for another measurement, {time.monotonic() - begin:.0f} s")
    try:
        yield
    finally:
        lock.release()
