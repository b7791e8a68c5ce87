"""Time limits for shared machines.

Time in which the whole machine, or this process beside its children, was stopped does not count; while more threads
are ready to run than there are cores, a second counts for as much as one thread gets of it.
"""

import os
import signal
import subprocess
import time
from contextlib import suppress

_MAX_POLL_S = 0.5  # between two looks; longer ones mean that this process was stopped
_POLL_S = 0.05
_MIN_SHARE = 0.1  # of a core, that any thread gets


class Patience:
    """A time in seconds, as a thread has it that gets its share of the cores.

    >>> patience = Patience(60)
    >>> while patience.lasts() and not done():
    ...     time.sleep(0.01)
    """

    def __init__(self, limit_s: float) -> None:
        self._left_s = limit_s
        self._before_s = time.monotonic()

    def lasts(self) -> bool:
        """Return whether some of the time is left; to be asked a few times a second."""
        now_s = time.monotonic()
        share = (os.cpu_count() or 1) / max(os.getloadavg()[0], 1.0)
        self._left_s -= min(now_s - self._before_s, _MAX_POLL_S) * min(1.0, max(share, _MIN_SHARE))
        self._before_s = now_s
        return self._left_s > 0


def outputs(process: subprocess.Popen[bytes], limit_s: float) -> tuple[bytes, bytes, bool]:
    """Return what a process that leads a group writes, and whether it ended by itself: beyond the limit all do."""
    patience = Patience(limit_s)
    while patience.lasts():
        with suppress(subprocess.TimeoutExpired):
            return *process.communicate(timeout=_POLL_S), True
    os.killpg(process.pid, signal.SIGKILL)
    return *process.communicate(), False


def ended(process: subprocess.Popen[bytes], limit_s: float) -> int | None:
    """Return the exit code of a process that leads a group; None beyond the limit, when the group is killed."""
    patience = Patience(limit_s)
    while patience.lasts():
        with suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=_POLL_S)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return None
