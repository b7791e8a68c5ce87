"""How much more memory this process may take before the machine, or its container, runs out.

The kernel's MemAvailable knows nothing of a container's limit, which ends a process without warning, so the least of
all counts (`man 7 cgroups`; the controllers' files are described in the kernel's cgroup-v2.rst and v1/memory.rst).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_ROOT = Path("/")


class _Names(NamedTuple):
    """The files of a group that hold its limits and its use, and the line of its statistics that counts idle cache.

    A group without a limit says "max", or a number beyond any. The page cache that a group has not touched lately is
    given back when memory runs short.
    """

    limits: tuple[str, ...]
    used: str
    idle_cache: str


# Above memory.high nothing is killed, but all is slowed down: what is timed there is the kernel taking memory back.
_V2 = _Names(("memory.max", "memory.high"), "memory.current", "inactive_file")
_V1 = _Names(("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file")


def available_bytes(root: Path = _ROOT) -> int:
    """Return the bytes that can still be had without swapping; `root` stands before /proc and /sys, for tests."""
    return min([_hardware_dependent(root), *_of_the_groups(root)])


def _hardware_dependent(root: Path) -> int:
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        import psutil

        return int(psutil.virtual_memory().available)
    (kib,) = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(kib) * 1024


def _of_the_groups(root: Path) -> Iterator[int]:
    """Yield what is left in each group this process is in, its parents included: each may have a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _left(root / "sys/fs/cgroup", path, _V2)
        elif "memory" in controllers.split(","):
            yield from _left(root / "sys/fs/cgroup/memory", path, _V1)


def _left(mount: Path, path: str, names: _Names) -> Iterator[int]:
    # In a container the path is the host's, but the mount begins at the container's own group: both are looked at.
    group = mount / path.strip("/")
    for folder in [group, *(parent for parent in group.parents if parent == mount or mount in parent.parents)]:
        limits = [limit for name in names.limits if (limit := _number(_text(folder / name))) is not None]
        used = _number(_text(folder / names.used))
        if limits and used is not None:
            yield max(min(limits) - used + _statistic(_text(folder / "memory.stat"), names.idle_cache), 0)


def _statistic(text: str, name: str) -> int:
    values = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    return _number(values.get(name, "")) or 0


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:  # there is no such group here, or it has no limit of its own
        return ""
