"""The progress of a process's work, written as messages to its parent."""

import sys
import time
from typing import IO

from kdbench.processes import messages
from kdbench.progress import Silent

_INTERVAL_S = 0.5


class MessageProgress(Silent):
    """Progress written as messages: all notes, the last step, and otherwise at most two steps a second."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout
        self._next_s = 0.0

    def step(self, done: float, total: float, detail: str = "") -> None:
        """Write how far the work is."""
        if done >= total or time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _INTERVAL_S
            messages.write({"step": [done, total, detail]}, self._stream)

    def waiting(self, detail: str) -> None:
        """Write what the work waits for."""
        messages.write({"waiting": detail}, self._stream)

    def note(self, text: str) -> None:
        """Write the note."""
        messages.write({"note": text}, self._stream)
