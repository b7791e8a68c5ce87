"""What a process undoes when it ends, however it ends: one list for errors, signals and ends that cannot wait.

A process that is killed (SIGKILL) undoes nothing: what it leaves is held by locks that end with it, and the next one
sweeps it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

_pending: dict[object, Callable[[], None]] = {}


@contextlib.contextmanager
def undone(undo: Callable[[], None]) -> Iterator[None]:
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
