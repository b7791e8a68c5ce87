"""Cleanup that runs however a process ends: one list for errors, signals and immediate exits.

A process that is killed (SIGKILL) cleans up nothing: its files are locked until it ends, and the next process removes
them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

_pending: dict[object, Callable[[], None]] = {}


@contextlib.contextmanager
def undo_at_end(undo: Callable[[], None]) -> Iterator[None]:
    """Call `undo` when the block ends, or when `undo_all` ends the process in the middle of the block.

    It may be called twice, and by another thread.
    """
    key = object()
    _pending[key] = undo
    try:
        yield
    finally:
        undo()
        _pending.pop(key, None)  # only now: a signal may have interrupted it


def undo_all() -> None:
    """Undo everything that is pending, the latest first; errors do not stop it."""
    for undo in reversed(list(_pending.values())):
        with contextlib.suppress(Exception):
            undo()
