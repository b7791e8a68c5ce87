"""A process that runs tasks one after the other: `python -m kdbench.workflows.workers.sweep`.

It reads one message per line from standard input. It writes the progress and the result of each task to standard
output, as one JSON object per line; the output of libraries goes to standard error.
"""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import IO

from kdbench.machine.memory import MemoryUnknownError, high_water
from kdbench.processes import messages
from kdbench.processes.parent import end_with_parent
from kdbench.workflows.sweeping.execution.engine import Perform, fault_of
from kdbench.workflows.workers.progress import MessageProgress


def main(lines: Iterable[str], stream: IO[str], perform: Perform) -> None:
    """Run the tasks in `lines`, until the lines end."""
    for line in lines:
        progress = MessageProgress(stream)
        message = json.loads(line)
        fault = fault_of(lambda message=message, progress=progress: perform(message, progress))  # type: ignore[misc]
        end = {"fault": None if fault is None else asdict(fault), "peak_bytes": _peak_bytes()}
        messages.write(end, stream)


def _peak_bytes() -> int:
    try:
        return high_water(was_reset=False)[0]
    except MemoryUnknownError:
        return 0


if __name__ == "__main__":
    end_with_parent(reads_input=True)
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from kdbench.workflows.sweeping.tasks import perform

    main(iter(sys.stdin.readline, ""), stream, perform)
