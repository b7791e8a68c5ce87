"""Resident memory of this process: now, and at its highest since a point in time.

Linux keeps both in /proc/self/status (`man 5 proc`): VmRSS, and VmHWM, its high-water mark, which writing 5 to
/proc/self/clear_refs sets back to the present. `getrusage`'s ru_maxrss will not do there: it outlives `exec`, so that
a child of a large process starts with its parent's size. Elsewhere psutil knows the present, and the system the mark.

Standard library only on Linux: it runs in the measuring process.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc/self")


class UnknownError(RuntimeError):
    """This system does not tell how much memory a process has held."""


@dataclass(frozen=True)
class HighWater:
    """The most memory this process held at once, in bytes, and since when: `counting began` or `it started`."""

    peak_bytes: int
    since: str


def resident_bytes(proc: Path = _PROC) -> int:
    """Return the memory that this process holds now, pages of files it has mapped included."""
    if (proc / "status").exists():
        return _status(proc, "VmRSS")
    import psutil

    return int(psutil.Process().memory_info().rss)


def restart(proc: Path = _PROC) -> bool:
    """Set the mark back to what is held now; return whether that could be done."""
    try:
        (proc / "clear_refs").write_text("5")
    except OSError:  # not Linux, or a container that keeps the file closed
        return False
    return True


def high_water(*, restarted: bool, proc: Path = _PROC) -> HighWater:
    """Return the most this process has held since `restart` returned True, or since it started.

    Raises UnknownError where the system keeps no such mark.
    """
    since = "counting began" if restarted else "it started"
    if (proc / "status").exists():
        return HighWater(max(_status(proc, "VmHWM"), _status(proc, "VmRSS")), since)
    return HighWater(_elsewhere(), since)


def _status(proc: Path, field: str) -> int:
    for line in (proc / "status").read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise UnknownError(f"{proc}/status has no {field}")


def _elsewhere() -> int:
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes, unlike anywhere else
    import psutil

    peak = getattr(psutil.Process().memory_info(), "peak_wset", None)  # Windows
    if peak is None:
        raise UnknownError(f"{sys.platform} keeps no mark of the most memory a process held")
    return int(peak)
