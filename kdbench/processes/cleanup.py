"""Cleanup that runs however a process ends: one list for errors, signals and immediate exits.

A process killed by SIGKILL cannot clean up. Its files are locked until it ends; the next process removes them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

_pending: dict[object, Callable[[], None]] = {}


@contextlib.contextmanager
def undo_at_end(undo: Callable[[], None]) -> Iterator[None]:
    """Call `undo` when the block ends, or when `undo_all` runs before that.

    `undo` may be called twice, and from another thread.
    """
    key = object()
    _pending[key] = undo
    try:
        yield
    finally:
        undo()
        _pending.pop(key, None)  # only after `undo`: a signal may interrupt it


def undo_all() -> None:
    """Call all pending functions, the latest first; continue after errors."""
    for undo in reversed(list(_pending.values())):
        with contextlib.suppress(Exception):
            undo()
