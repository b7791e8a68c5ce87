"""The kernel's small files that energy sources read: counters, sensors, and what kind of board this is."""

import os
import weakref
from pathlib import Path

ROOT = Path("/")

_LONGEST = 64  # bytes; a number in sysfs has some twenty


class NumberFile:
    """A file of sysfs that holds one whole number, kept open.

    The kernel forms the number anew for each read at offset 0, at a fraction of what opening the file costs
    (Documentation/filesystems/sysfs.rst). Raises OSError where it cannot be opened. `close` closes it, as does its end.
    """

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_RDONLY)
        self.close = weakref.finalize(self, os.close, self._descriptor)

    def read(self) -> int:
        """Return the number now; raises OSError, and ValueError where there is none."""
        return int(os.pread(self._descriptor, _LONGEST, 0))


def text(file: Path) -> str:
    """Return what a small file says, without blanks and NULs at its ends; nothing where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip(" \t\n\0")
    except OSError:
        return ""


def is_tegra(root: Path = ROOT) -> bool:
    """Return whether this is an NVIDIA Tegra, that is a Jetson: its GPU is no board that NVML could meter.

    Jetson Linux says so in a file of its own; containers and other systems know the device tree alone.
    """
    return (root / "etc/nv_tegra_release").exists() or "nvidia,tegra" in text(root / "proc/device-tree/compatible")
