"""Ending a child process together with the process that started it (see `children`). Standard library only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import threading

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h
_MAX_DESCRIPTORS = 64


def end_with_parent(*, reads_input: bool = False) -> None:
    """Make this process end when its parent has ended for any reason; on Linux even while this process is stopped.

    A process that reads its standard input until it closes, which happens when the parent ends, sets `reads_input`, so
    that nothing else reads it. Inherited locks are not passed on to this process's own children.
    """
    for descriptor in range(3, _MAX_DESCRIPTORS):
        with contextlib.suppress(OSError):
            os.set_inheritable(descriptor, False)
    if not _killed_with_parent():
        if reads_input:
            return
        threading.Thread(target=_watch_parent, daemon=True, name="parent").start()
    elif not reads_input and select.select([0], [], [], 0)[0]:
        os._exit(1)  # the parent ended before the kernel was asked


def _killed_with_parent() -> bool:
    """Request that the kernel kill this process when the thread that started it ends; return whether that worked."""
    if sys.platform != "linux":
        return False
    try:
        return bool(ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def _watch_parent() -> None:
    # Not via sys.stdin: a normal exit of the process would wait for its lock.
    os.read(0, 1)
    os._exit(1)
