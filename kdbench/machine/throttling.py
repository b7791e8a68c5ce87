"""Whether a machine slowed itself down: what it tells of heat, power and quotas, read before and after a session.

A gauge is one place where a machine tells it. Adding one is adding a class to `gauges`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol

from kdbench.machine.fingerprint import control_groups, first_line
from kdbench.machine.firmware import Board, GpuClocks

_CLOCK_FELL = 0.9  # of what it was; two readings of a steady clock differ by a few percent
_COOL_DOWN = "let it cool, improve its cooling or its power supply, and measure again"


class Gauge(Protocol):
    """One place where a machine tells that it was slowed down; `remedy` says what to do about it."""

    title: ClassVar[str]
    remedy: ClassVar[str]

    def read(self) -> float | None:
        """Return what it shows now; None where this machine has no such gauge."""

    def sign(self, before: float, after: float) -> str:
        """Return what two readings around a session tell of it, empty if it was not slowed down."""


class ThermalCounters:
    """How often the cores and the package of an Intel processor throttled because of heat, since start-up."""

    title: ClassVar[str] = "thermal counters"
    remedy: ClassVar[str] = _COOL_DOWN

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self) -> float | None:
        """Return the sum of all counters."""
        return _total(self._root, "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count")

    def sign(self, before: float, after: float) -> str:
        """Tell a rise."""
        return f"the processor throttled {after - before:.0f} times because of heat" if after > before else ""


class Cooling:
    """What the kernel does to cool the processor: the states of its cooling devices, 0 when it leaves it alone."""

    title: ClassVar[str] = "cooling devices"
    remedy: ClassVar[str] = _COOL_DOWN
    _OF_CPU = ("Processor", "cpufreq", "thermal-cpufreq")

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self) -> float | None:
        """Return the sum of the states of the devices that cool processors."""
        devices = sorted(self._root.glob("sys/class/thermal/cooling_device[0-9]*"))
        of_cpu = [d for d in devices if (first_line(d / "type") or "").startswith(self._OF_CPU)]
        states = [number for d in of_cpu if (number := _number(d / "cur_state")) is not None]
        return sum(states) if states else None

    def sign(self, before: float, after: float) -> str:
        """Tell a device at work."""
        return "the system held the processor back to cool it" if max(before, after) > 0 else ""


class ClockLimit:
    """The lowest limit that is set to a core's clock, in kHz: firmware and drivers lower it under heat."""

    title: ClassVar[str] = "clock limit"
    remedy: ClassVar[str] = _COOL_DOWN

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self) -> float | None:
        """Return the limit of the slowest core."""
        limits = _numbers(self._root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_max_freq")
        return min(limits, default=None)

    def sign(self, before: float, after: float) -> str:
        """Tell a fall."""
        return f"the clock's limit fell from {before / 1e3:.0f} to {after / 1e3:.0f} MHz" if after < before else ""


class Clock:
    """The clock of the fastest core, in kHz, where the governor asks for the highest at all times.

    Under any other governor a fall means only that there was less to do.
    """

    title: ClassVar[str] = "clock"
    remedy: ClassVar[str] = _COOL_DOWN

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self) -> float | None:
        """Return it under the governor `performance`."""
        folders = self._root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq")
        steady = [f for f in folders if first_line(f / "scaling_governor") == "performance"]
        clocks = [number for f in steady if (number := _number(f / "scaling_cur_freq")) is not None]
        return max(clocks, default=None)

    def sign(self, before: float, after: float) -> str:
        """Tell a fall by more than a tenth."""
        return (
            f"the clock fell from {before / 1e3:.0f} to {after / 1e3:.0f} MHz" if after < _CLOCK_FELL * before else ""
        )


class QuotaStops:
    """For how long a control group stopped its processes because their quota of CPU time was used up, in s."""

    title: ClassVar[str] = "quota stops"
    remedy: ClassVar[str] = "raise the container's CPU limit, or measure with fewer threads"

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self) -> float | None:
        """Return the sum over the groups around this process."""
        told = [_pairs(folder / "cpu.stat") for folder in control_groups(self._root)]
        stops = [
            float(pairs["throttled_usec"]) / 1e6 if "throttled_usec" in pairs else float(pairs["throttled_time"]) / 1e9
            for pairs in told
            if pairs.keys() & {"throttled_usec", "throttled_time"}  # of version 2 and of version 1
        ]
        return sum(stops) if stops else None

    def sign(self, before: float, after: float) -> str:
        """Tell a rise."""
        return f"the CPU quota stopped it for {1e3 * (after - before):.0f} ms" if after > before else ""


def gauges(root: Path, provider: str = "cpu") -> tuple[Gauge, ...]:
    """Return the gauges that bear on measuring with `provider`. `root` stands before /proc and /sys, for tests."""
    of_cpu: tuple[Gauge, ...] = (
        ThermalCounters(root),
        Cooling(root),
        ClockLimit(root),
        Clock(root),
        QuotaStops(root),
        Board(),
    )
    return (*of_cpu, GpuClocks()) if provider == "cuda" else of_cpu


def _total(root: Path, pattern: str) -> float | None:
    found = _numbers(root, pattern)
    return sum(found) if found else None


def _numbers(root: Path, pattern: str) -> list[float]:
    return [number for path in root.glob(pattern) if (number := _number(path)) is not None]


def _number(path: Path) -> float | None:
    text = first_line(path) or ""
    return float(text) if text.lstrip("-").isdigit() else None


def _pairs(path: Path) -> Mapping[str, str]:
    try:
        words = path.read_text(encoding="utf-8").split()
    except OSError:
        return {}
    return dict(zip(words[::2], words[1::2], strict=False))
