"""Limits that Linux control groups (containers, batch systems) set for this process: CPU quota and memory.

Described in the kernel's cgroup-v2.rst, v1/memory.rst and `man 7 cgroups`. Standard library only.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from kdbench.machine.system_files import ROOT, fields, first_line, number, text

# Files of version 2 first. Above memory.high nothing is killed, but everything slows down while the kernel reclaims
# memory. A group without a limit says "max", or a huge number.
_LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")
_USED = ("memory.current", "memory.usage_in_bytes")


def control_groups(controller: Literal["cpu", "memory"], root: Path = ROOT) -> list[Path]:
    """Return the folders of the control groups that this process is in, innermost first.

    Inside a container the listed path is the host's, but the mount begins at the container's own group, so the mount
    itself is always included. Version 1 keeps a tree for each controller, version 2 one for all.
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
    """Return how many cores this process may use at once on average; None without a limit."""
    quotas = []
    for folder in control_groups("cpu", root):
        quota, _, period = (first_line(folder / "cpu.max") or "max").partition(" ")
        if quota == "max":
            quota, period = (first_line(folder / f"cpu.cfs_{name}_us") or "-1" for name in ("quota", "period"))
        if int(quota) > 0:
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def throttled_s(root: Path = ROOT) -> float | None:
    """Return for how long processes were stopped because the CPU quota was used up; None if no group counts it."""
    times = []
    for folder in control_groups("cpu", root):
        counters = fields(folder / "cpu.stat")
        if "throttled_usec" in counters:  # version 2
            times.append(int(counters["throttled_usec"]) / 1e6)
        elif "throttled_time" in counters:  # version 1
            times.append(int(counters["throttled_time"]) / 1e9)
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
