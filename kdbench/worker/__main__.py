"""The measuring process: `python -m kdbench.worker.__main__ JOB.json`.

It imports numpy and one runtime, so that nothing else shares its caches, threads and memory. The job names a
probe, a module of `kdbench.worker.probes`, whose `run(job, channel)` returns JSON values; these are written to the
job's `result`. What happens meanwhile goes to standard output, one JSON object a line.
"""

import importlib
import json
import sys
import time
from pathlib import Path

from kdbench.machine.cores import pin

_EVERY_NS = 250_000_000


class Channel:
    """What a probe says to the process that waits for it."""

    def __init__(self) -> None:
        self._last = 0

    def model(self, id_: str) -> None:
        """Say which model is being worked on: it is the one to blame if this process dies now."""
        self._say({"model": id_})

    def step(self, done: float, total: float) -> None:
        """Say how far the job is, four times a second at most."""
        now = time.monotonic_ns()
        if now - self._last >= _EVERY_NS:
            self._last = now
            self._say({"step": [done, total]})

    @staticmethod
    def _say(message: dict[str, object]) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def main(path: Path) -> None:
    """Do the job described in the file `path`."""
    job = json.loads(path.read_text(encoding="utf-8"))
    pin(job["cores"])  # before any library starts a thread
    probe = importlib.import_module(f"kdbench.worker.probes.{job['probe']}")
    result = Path(job["result"])
    partial = result.with_suffix(".part")
    partial.write_text(json.dumps(probe.run(job, Channel())), encoding="utf-8")
    partial.replace(result)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
