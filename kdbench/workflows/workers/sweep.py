"""A process that runs tasks one after the other: `python -m kdbench.workflows.workers.sweep`.

It reads one message per line from standard input. It writes the progress and the result of each task to standard
output, as one JSON object per line; the output of libraries goes to standard error.
"""

import json
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import IO

from kdbench.machine.memory import MemoryUnknownError, high_water
from kdbench.processes.parent import end_with_parent
from kdbench.progress import Silent
from kdbench.workflows.sweeping.execution.engine import Perform, fault_of

_INTERVAL_S = 0.5


class JsonProgress(Silent):
    """Progress written as messages, at most two a second."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._wrote_s = 0.0

    def step(self, done: float, total: float, detail: str = "") -> None:
        """Write how far the task is."""
        if time.monotonic() - self._wrote_s >= _INTERVAL_S:
            self._wrote_s = time.monotonic()
            self.write({"step": [done, total, detail]})

    def waiting(self, detail: str) -> None:
        """Write what the task waits for."""
        self.step(0, 1, detail)

    def note(self, text: str) -> None:
        """Write the note."""
        self.write({"note": text})

    def write(self, message: dict[str, object]) -> None:
        """Write a message."""
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()


def main(lines: Iterable[str], stream: IO[str], perform: Perform) -> None:
    """Run the tasks in `lines`, until the lines end."""
    for line in lines:
        progress = JsonProgress(stream)
        message = json.loads(line)
        fault = fault_of(lambda message=message, progress=progress: perform(message, progress))  # type: ignore[misc]
        progress.write({"fault": None if fault is None else asdict(fault), "peak_bytes": _peak_bytes()})


def _peak_bytes() -> int:
    try:
        return high_water(was_reset=False)[0]
    except MemoryUnknownError:
        return 0


if __name__ == "__main__":
    end_with_parent(reads_input=True)
    messages = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from kdbench.workflows.sweeping.tasks import perform

    main(iter(sys.stdin.readline, ""), messages, perform)
