"""Throttling: gauges of heat, power and quotas, read before and after a session.

A gauge is one place where a machine reports that it was slowed down. To add one, add a class to `gauges`.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any, ClassVar, Protocol

from kdbench.machine.control_groups import throttled_s
from kdbench.machine.nvidia import first_visible, query
from kdbench.machine.system_files import first_line, number, numbers

_CLOCK_FELL = 0.9  # of its earlier value; two readings of a steady clock differ by a few percent
_COOL_DOWN = "let it cool, improve its cooling or its power supply, and measure again"
# Bits of vcgencmd get_throttled: 0 to 3 hold now; the same 16 higher have happened since start-up.
# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
_BOARD_FLAGS = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}
# nvml.h, nvmlClocksEventReason*. Idle clocks and clocks that a person has set are no throttling.
_GPU_REASONS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}


class Gauge(Protocol):
    """One place where a machine reports that it was slowed down; `remedy` says what to do about it."""

    title: ClassVar[str]
    remedy: ClassVar[str]

    def read(self) -> float | None:
        """Return the present value; None if this machine has no such gauge."""

    def describe(self, before: float, after: float) -> str:
        """Return what two readings around a session say about throttling; empty if there was none."""


class ThermalCounters:
    """How often the cores and the package of an Intel processor throttled because of heat, since start-up."""

    title: ClassVar[str] = "thermal counters"
    remedy: ClassVar[str] = _COOL_DOWN

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self) -> float | None:
        """Return the sum of all counters."""
        counts = numbers(self._root, "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count")
        return sum(counts) if counts else None

    def describe(self, before: float, after: float) -> str:
        """Report a rise."""
        return f"the processor throttled {after - before:.0f} times because of heat" if after > before else ""


class Cooling:
    """The states of the devices that the kernel cools the processor with; 0 is inactive."""

    title: ClassVar[str] = "cooling devices"
    remedy: ClassVar[str] = _COOL_DOWN
    _CPU_TYPES = ("Processor", "cpufreq", "thermal-cpufreq")

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self) -> float | None:
        """Return the sum of the states of the devices that cool processors."""
        devices = self._root.glob("sys/class/thermal/cooling_device[0-9]*")
        cpu_devices = [device for device in devices if (first_line(device / "type") or "").startswith(self._CPU_TYPES)]
        states = [state for device in cpu_devices if (state := number(device / "cur_state")) is not None]
        return sum(states) if states else None

    def describe(self, before: float, after: float) -> str:
        """Report an active device."""
        return "the system held the processor back to cool it" if max(before, after) > 0 else ""


class ClockLimit:
    """The lowest limit of a core's clock, in kHz: firmware and drivers lower it under heat."""

    title: ClassVar[str] = "clock limit"
    remedy: ClassVar[str] = _COOL_DOWN

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self) -> float | None:
        """Return the limit of the slowest core."""
        limits = numbers(self._root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_max_freq")
        return min(limits, default=None)

    def describe(self, before: float, after: float) -> str:
        """Report a fall."""
        return f"the clock's limit fell from {before / 1e3:.0f} to {after / 1e3:.0f} MHz" if after < before else ""


class Clock:
    """The clock of the fastest core, in kHz, if the governor always asks for the highest.

    Under any other governor a fall only means that there was less to do.
    """

    title: ClassVar[str] = "clock"
    remedy: ClassVar[str] = _COOL_DOWN

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self) -> float | None:
        """Return the clock under the governor `performance`."""
        folders = self._root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq")
        steady = [folder for folder in folders if first_line(folder / "scaling_governor") == "performance"]
        clocks = [clock for folder in steady if (clock := number(folder / "scaling_cur_freq")) is not None]
        return max(clocks, default=None)

    def describe(self, before: float, after: float) -> str:
        """Report a fall by more than a tenth."""
        return (
            f"the clock fell from {before / 1e3:.0f} to {after / 1e3:.0f} MHz" if after < _CLOCK_FELL * before else ""
        )


class QuotaStops:
    """For how long control groups stopped processes because the CPU quota was used up, in s."""

    title: ClassVar[str] = "quota stops"
    remedy: ClassVar[str] = "raise the container's CPU limit, or measure with fewer threads"

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self) -> float | None:
        """Return the sum over the control groups of this process."""
        return throttled_s(self._root)

    def describe(self, before: float, after: float) -> str:
        """Report a rise."""
        return f"the CPU quota stopped it for {1e3 * (after - before):.0f} ms" if after > before else ""


class BoardFlags:
    """What a Raspberry Pi's firmware reports about voltage and temperature."""

    title: ClassVar[str] = "board flags"
    remedy: ClassVar[str] = "use the official power supply and a heat sink or fan, and measure again"

    def read(self) -> float | None:
        """Return the flags of `vcgencmd get_throttled`."""
        tool = shutil.which("vcgencmd")
        if tool is None:
            return None
        try:
            done = subprocess.run([tool, "get_throttled"], capture_output=True, text=True, check=True, timeout=5)
            return int(done.stdout.strip().partition("=")[2], 16)
        except (OSError, subprocess.SubprocessError, ValueError):
            return None  # another board's tool, or no permission

    def describe(self, before: float, after: float) -> str:
        """Report flags that hold after the session, or were raised in it for the first time since start-up."""
        new = int(after) & ~int(before)
        names = [name for bit, name in _BOARD_FLAGS.items() if int(after) >> bit & 1 or new >> (bit + 16) & 1]
        return f"the board reports {', '.join(names)}" if names else ""


class GpuClocks:
    """Why the first visible NVIDIA GPU runs below its clocks, according to the driver."""

    title: ClassVar[str] = "GPU clocks"
    remedy: ClassVar[str] = (
        "let the GPU cool, or lock its clocks below the limit (nvidia-smi --lock-gpu-clocks), and measure again"
    )

    def read(self) -> float | None:
        """Return the bits of the reasons that hold now."""

        def reasons(pynvml: Any) -> float:
            return float(pynvml.nvmlDeviceGetCurrentClocksEventReasons(first_visible(pynvml)))

        return query(reasons)

    def describe(self, before: float, after: float) -> str:
        """Report the reasons that hold right before or right after the session."""
        names = [name for bit, name in _GPU_REASONS.items() if (int(before) | int(after)) & bit]
        return f"the GPU was slowed down: {', '.join(names)}" if names else ""


def gauges(root: Path, provider: str = "cpu") -> tuple[Gauge, ...]:
    """Return the gauges that matter when measuring with `provider`."""
    cpu_gauges: tuple[Gauge, ...] = (
        ThermalCounters(root),
        Cooling(root),
        ClockLimit(root),
        Clock(root),
        QuotaStops(root),
        BoardFlags(),
    )
    return (*cpu_gauges, GpuClocks()) if provider == "cuda" else cpu_gauges
