"""The measuring process: `python -m kdbench.worker.__main__ JOB.json RESULT.json`.

It imports numpy and one runtime, so that nothing else shares its caches, threads and memory. The job names a
probe, a module of `kdbench.worker.probes`, whose `run(job, channel)` returns JSON values; these are written to
RESULT.json. Progress goes to standard output, one JSON object a line.
"""

from __future__ import annotations

import errno
import importlib
import json
import sys
import time
from pathlib import Path

from kdbench.machine.cores import pin
from kdbench.processes.parent import end_with_parent
from kdbench.worker.jobs import cores_of, job_of

_INTERVAL_NS = 250_000_000
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


class Channel:
    """Sends messages of a probe to the parent process, as JSON lines."""

    def __init__(self) -> None:
        self._last = 0

    def model(self, id_: str) -> None:
        """Report the current model, to which the parent attributes the failure if this process dies."""
        self._send({"model": id_})

    def batch(self, samples: int) -> None:
        """Report the batch size of the calls that follow, which determines how long they may take."""
        self._send({"batch": samples})

    def step(self, done: float, total: float) -> None:
        """Report the progress of the job, at most four times a second."""
        now = time.monotonic_ns()
        if now - self._last >= _INTERVAL_NS:
            self._last = now
            self._send({"step": [done, total]})

    def disk(self, error: OSError) -> None:
        """Report that a file could not be written."""
        self._send({"disk": [error.errno, error.strerror, str(error.filename or "")]})

    @staticmethod
    def _send(message: dict[str, object]) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def main(path: Path, result: Path) -> None:
    """Do the job described in the file `path`."""
    end_with_parent()
    channel = Channel()
    try:
        _do(path, result, channel)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        channel.disk(error)
        sys.exit(1)


def _do(path: Path, result: Path, channel: Channel) -> None:
    job = job_of(json.loads(path.read_text(encoding="utf-8")))
    pin(cores_of(job))  # before any library starts a thread
    probe = importlib.import_module(f"kdbench.worker.probes.{job.probe}")
    partial = result.with_suffix(".part")
    partial.write_text(json.dumps(probe.run(job, channel)), encoding="utf-8")
    partial.replace(result)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
