"""Small text files of /proc and /sys: counters, sensors and lists. Standard library only.

Functions of this folder take `root`, the folder that stands in for / in tests.
"""

import os
import weakref
from pathlib import Path

ROOT = Path("/")

_MAX_BYTES = 64  # a number in sysfs has some twenty


class NumberFile:
    """A file of sysfs that holds one whole number, kept open.

    The kernel forms the number anew for each read at offset 0, at a fraction of what opening the file costs
    (Documentation/filesystems/sysfs.rst). Raises OSError if it cannot be opened. Deleting the object closes the file.
    """

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_RDONLY)
        self.close = weakref.finalize(self, os.close, self._descriptor)

    def read(self) -> int:
        """Return the number now; raises OSError, and ValueError if the file holds no number."""
        return int(os.pread(self._descriptor, _MAX_BYTES, 0))


def text(file: Path) -> str:
    """Return a small file's text, without blanks and NULs at its ends; empty if it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip(" \t\n\0")
    except OSError:
        return ""


def first_line(file: Path) -> str | None:
    """Return the first line of a file; None if it is empty or cannot be read."""
    return text(file).partition("\n")[0] or None


def number(file: Path) -> int | None:
    """Return the whole number on a file's first line; None if there is none."""
    line = first_line(file) or ""
    return int(line) if line.removeprefix("-").isdecimal() else None


def numbers(root: Path, pattern: str) -> list[int]:
    """Return the numbers in all files below `root` that match the glob pattern."""
    return [value for file in root.glob(pattern) if (value := number(file)) is not None]


def fields(file: Path, separator: str = " ") -> dict[str, str]:
    """Return the lines `name<separator>value` of a file; of lines with the same name, the first."""
    values: dict[str, str] = {}
    for line in text(file).splitlines():
        name, _, value = line.partition(separator)
        values.setdefault(name.strip(), value.strip())
    return values


def is_tegra(root: Path = ROOT) -> bool:
    """Return whether this is an NVIDIA Tegra (Jetson), whose GPU is no board that NVML can meter.

    Jetson Linux has a file of its own for it; in containers and on other systems only the device tree says so.
    """
    return (root / "etc/nv_tegra_release").exists() or "nvidia,tegra" in text(root / "proc/device-tree/compatible")
