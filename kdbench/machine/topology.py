"""What the system tells of a processor's cores; `root` stands before /sys, for tests."""

from pathlib import Path

from kdbench.machine.fingerprint import first_line

_ROOT = Path("/")


def siblings(core: int, root: Path = _ROOT) -> frozenset[int] | None:
    """Return the hardware threads of the physical core that `core` is on, itself among them; None if unknown."""
    told = first_line(root / f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    if told is None:
        return None
    ranges = [part.partition("-") for part in told.split(",")]
    return frozenset(n for first, _, last in ranges for n in range(int(first), int(last or first) + 1))


def strength(core: int, root: Path = _ROOT) -> int:
    """Return a core's capacity, its highest clock where that is not told, or 0; comparable within a machine."""
    folder = root / f"sys/devices/system/cpu/cpu{core}"
    told = first_line(folder / "cpu_capacity") or first_line(folder / "cpufreq/cpuinfo_max_freq")
    return int(told) if told and told.isdecimal() else 0
