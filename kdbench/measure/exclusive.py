"""Only one measurement at a time on a machine."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from kdbench import storage
from kdbench.progress import Progress

LOCK = "kdbench-measuring.lock"
FOLDER = "KDBENCH_LOCK_DIR"  # the variable that names the folder, where the temporary one is not the whole machine's
_LOOK_AGAIN_S = 0.25


@contextmanager
def alone_on_machine(progress: Progress) -> Iterator[None]:
    """Hold this machine's measuring lock, a file in KDBENCH_LOCK_DIR or the temporary folder; wait for it visibly.

    The lock goes with the process that holds it, however that ends.
    """
    folder = Path(os.environ.get(FOLDER) or tempfile.gettempdir())
    lock = FileLock(storage.make_folder(folder) / LOCK, mode=0o666)  # whoever comes first, others must be able to open
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
