"""Messages from a measuring process to its parent: JSON objects on standard output, one per line."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kdbench.processes import messages

_INTERVAL_NS = 250_000_000


class Channel:
    """Sends messages of a probe to the parent process, as JSON lines; or to `send`, which gets each of them."""

    def __init__(self, send: Callable[[dict[str, Any]], None] = messages.write) -> None:
        self._send = send
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
