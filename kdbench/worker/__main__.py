"""The measuring process: `python -m kdbench.worker.__main__ JOB.json RESULT.json`.

It imports numpy and one runtime, so that nothing else shares its caches, threads and memory. The job names a
probe, a module of `kdbench.worker.probes`, whose `run(job, channel)` returns JSON values; these are written to
RESULT.json. Progress goes to standard output, one JSON object a line.
"""

import importlib
import json
import sys
import time
from pathlib import Path

from kdbench.machine.cores import pin
from kdbench.worker.jobs import job_of

_EVERY_NS = 250_000_000


class Channel:
    """Messages of a probe to the process that waits for it."""

    def __init__(self) -> None:
        self._last = 0

    def model(self, id_: str) -> None:
        """Report which model is being worked on: the one to blame if this process dies now."""
        self._send({"model": id_})

    def step(self, done: float, total: float) -> None:
        """Report how far the job is, four times a second at most."""
        now = time.monotonic_ns()
        if now - self._last >= _EVERY_NS:
            self._last = now
            self._send({"step": [done, total]})

    @staticmethod
    def _send(message: dict[str, object]) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def main(path: Path, result: Path) -> None:
    """Do the job described in the file `path`."""
    job = job_of(json.loads(path.read_text(encoding="utf-8")))
    pin(job.cores)  # before any library starts a thread
    probe = importlib.import_module(f"kdbench.worker.probes.{job.probe}")
    partial = result.with_suffix(".part")
    partial.write_text(json.dumps(probe.run(job, Channel())), encoding="utf-8")
    partial.replace(result)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
