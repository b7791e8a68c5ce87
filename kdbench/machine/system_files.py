"""Small text files of /proc and /sys: counters, sensors and lists; limits of control groups. Standard library only.

Linux control groups (containers, batch systems) limit a process's CPU quota and memory: see the kernel's cgroup-v2.rst,
v1/memory.rst and `man 7 cgroups`. Functions of this folder take `root`, the folder that stands in for / in tests.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

ROOT = Path("/")

_SANE_C = (-40, 150)  # an unconnected sensor may show any value
_MAX_BYTES = 64  # a number in sysfs has some twenty
# Files of version 2 first. Above memory.high nothing is killed, but everything slows down while the kernel reclaims
# memory. A group without a limit says "max", or a huge number.
_LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")
_THROTTLED = {"throttled_usec": 1e6, "throttled_time": 1e9}  # versions 2 and 1, with units per second
_USED = ("memory.current", "memory.usage_in_bytes")


class NumberFile:
    """A file of sysfs that holds one whole number, kept open.

    The kernel generates the number for each read at offset 0, which takes a fraction of the time of opening the file
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
    """Return whether this is an NVIDIA Tegra (Jetson), whose GPU NVML cannot meter.

    Jetson Linux has a file for it; containers and other systems have only the device tree.
    """
    return (root / "etc/nv_tegra_release").exists() or "nvidia,tegra" in text(root / "proc/device-tree/compatible")


def control_groups(controller: Literal["cpu", "memory"], root: Path = ROOT) -> list[Path]:
    """Return the folders of the control groups that this process is in, innermost first.

    Inside a container the listed path is the host's, but the mount starts at the container's own group, so the mount
    itself is always included. Version 1 has one tree per controller, version 2 one tree for all.
    """
    mount = root / "sys/fs/cgroup"
    folders = []
    for line in text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        tree = mount / controller if controllers else mount
        folders += [tree / part.relative_to("/") for part in (PurePosixPath(path), *PurePosixPath(path).parents)]
    return [folder for folder in dict.fromkeys([*folders, mount]) if folder.is_dir()]


def quota_cores(root: Path = ROOT) -> float | None:
    """Return the CPU quota of this process in cores, on average over time; None without a limit."""
    quotas = []
    for folder in control_groups("cpu", root):
        quota, _, period = (first_line(folder / "cpu.max") or "max").partition(" ")
        if quota == "max":
            quota, period = (first_line(folder / f"cpu.cfs_{name}_us") or "-1" for name in ("quota", "period"))
        if int(quota) > 0:
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def throttled_s(root: Path = ROOT) -> float | None:
    """Return how long, in s, processes were stopped because the CPU quota was used up; None if no group counts it."""
    times = []
    for folder in control_groups("cpu", root):
        counters = fields(folder / "cpu.stat")
        times += [int(counters[name]) / per_s for name, per_s in _THROTTLED.items() if name in counters]
    return sum(times) if times else None


def memory_left(root: Path = ROOT) -> Iterator[int]:
    """Yield the bytes left below the limit of each group that has one; idle page cache counts as free."""
    for folder in control_groups("memory", root):
        limits = [limit for name in _LIMITS if (limit := number(folder / name)) is not None]
        used = [value for name in _USED if (value := number(folder / name)) is not None]
        if limits and used:
            usage = fields(folder / "memory.stat")
            idle_cache = int(usage.get("total_inactive_file", usage.get("inactive_file", "0")))
            yield max(min(limits) - used[0] + idle_cache, 0)


def temperature_c(root: Path = ROOT) -> float | None:
    """Return the highest temperature of any thermal zone, None if there is none."""
    zones = (number(zone) for zone in root.glob("sys/class/thermal/thermal_zone*/temp"))
    degrees = [value / 1000 for value in zones if value is not None]
    return max((one for one in degrees if _SANE_C[0] < one < _SANE_C[1]), default=None)


def clock_khz(root: Path = ROOT) -> int | None:
    """Return the current clock of the fastest core in kHz, None if it is unknown."""
    files = root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
    return max((khz for file in files if (khz := number(file)) is not None), default=None)
