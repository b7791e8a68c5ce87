"""Current and peak memory of this process, available memory, and memory of this process on the GPU.

Linux reports both in /proc/self/status (`man 5 proc`): VmRSS, and VmHWM, its high-water mark; writing 5 to
/proc/self/clear_refs resets the mark to the current value. `getrusage`'s ru_maxrss is no substitute: `exec` does not
reset it, so the child of a large process starts with its parent's size. On other systems psutil and the system report
the two.

Standard library only on Linux, because it runs in the measuring process.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from kdbench.errors import InputError
from kdbench.machine.nvidia import first_visible
from kdbench.machine.system_files import ROOT, fields, memory_left

_PROC = Path("/proc/self")


class MemoryUnknownError(RuntimeError):
    """Raised if the system, or the GPU's driver, does not report how much memory is in use."""


def resident_bytes(proc: Path = _PROC) -> int:
    """Return the current resident memory of this process in bytes, including pages of mapped files."""
    if (proc / "status").exists():
        return _status(proc, "VmRSS")
    import psutil

    return int(psutil.Process().memory_info().rss)


def reset_high_water(proc: Path = _PROC) -> bool:
    """Reset the high-water mark to the current memory; return whether that was possible."""
    try:
        (proc / "clear_refs").write_text("5")
    except OSError:  # not Linux, or a container that does not allow it
        return False
    return True


def high_water(*, was_reset: bool, proc: Path = _PROC) -> tuple[int, str]:
    """Return the peak memory of this process in bytes, and the begin of counting: `counting began` or `it started`.

    Counting began when `reset_high_water` returned True. Raises MemoryUnknownError if the system has no such mark.
    """
    on_linux = (proc / "status").exists()
    peak = max(_status(proc, "VmHWM"), _status(proc, "VmRSS")) if on_linux else _peak_outside_linux()
    return peak, "counting began" if was_reset else "it started"


def available_bytes(root: Path = ROOT) -> int:
    """Return the bytes that can be allocated without swapping: the minimum for the machine and its control groups.

    The kernel's MemAvailable ignores a container's limit, beyond which processes are killed without warning.
    """
    available = fields(root / "proc/meminfo", ":").get("MemAvailable")
    if available is not None:
        return min([int(available.split()[0]) * 1024, *memory_left(root)])
    import psutil  # not Linux

    return int(psutil.virtual_memory().available)


def require_memory(needed_bytes: int, subject: str, hint: str) -> None:
    """Raise InputError if `subject`, such as "the images", needs more than half of the available memory."""
    available = available_bytes()
    if 2 * needed_bytes > available:
        sizes = f"{needed_bytes / 1e9:,.1f} GB of memory, more than half of the {available / 1e9:,.1f} GB available"
        raise InputError(f"{subject} would take {sizes}", hint)


class DeviceMemory:
    """Memory of this process on the first visible GPU, as reported by the driver (NVML).

    The driver lists the processes on a board with the memory of each. If it does not (virtual GPUs, containers with
    their own process ids, Windows), the growth of the whole board's used memory since this object was created is used,
    other processes included. Raises MemoryUnknownError if the driver cannot be queried.
    """

    def __init__(self) -> None:
        import pynvml

        try:
            pynvml.nvmlInit()
            self._board = first_visible(pynvml)
            self._before: int = pynvml.nvmlDeviceGetMemoryInfo(self._board).used
        except pynvml.NVMLError as error:
            raise MemoryUnknownError(f"NVML: {error}") from error

    def usage(self) -> tuple[int, str]:
        """Return the bytes of this process on the GPU now, including its CUDA context, and how they were counted."""
        import pynvml

        try:
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(self._board):
                if process.pid == os.getpid() and process.usedGpuMemory is not None:
                    return process.usedGpuMemory, "NVML, of this process"
            growth: int = pynvml.nvmlDeviceGetMemoryInfo(self._board).used - self._before
        except pynvml.NVMLError as error:
            raise MemoryUnknownError(f"NVML: {error}") from error
        return max(growth, 0), "NVML, growth of the board's used memory, other processes included"


def _status(proc: Path, field: str) -> int:
    value = fields(proc / "status", ":").get(field)
    if value is None:
        raise MemoryUnknownError(f"{proc}/status has no {field}")
    return int(value.split()[0]) * 1024


def _peak_outside_linux() -> int:
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes, unlike anywhere else
    import psutil

    peak = getattr(psutil.Process().memory_info(), "peak_wset", None)  # Windows
    if peak is None:
        raise MemoryUnknownError(f"{sys.platform} does not record the peak memory of a process")
    return int(peak)
