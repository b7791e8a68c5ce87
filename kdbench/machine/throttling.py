"""Throttling: gauges of heat, power and quotas, read before and after a session.

To add a gauge, write a function that returns it and list it in `gauges`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.machine.nvidia import first_visible, query
from kdbench.machine.system_files import first_line, number, numbers, throttled_s

_CLOCK_FELL = 0.9  # of its earlier value; two readings of a steady clock differ by a few percent
_COOL_DOWN = "let it cool, improve its cooling or its power supply, and measure again"
_CPU_COOLING = ("Processor", "cpufreq", "thermal-cpufreq")  # types of cooling devices
# Bits of vcgencmd get_throttled: 0 to 3 hold now; the same 16 higher have happened since start-up.
# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
_BOARD_FLAGS = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}
# nvml.h, nvmlClocksEventReason*. Idle clocks and clocks that a person has set are not throttling.
_GPU_REASONS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}


@dataclass(frozen=True)
class Gauge:
    """One indicator of throttling on a machine.

    `read` returns the current value, None if this machine has no such gauge. `describe` returns the message about
    throttling between two readings, empty if there was none. `remedy` is the hint for the user.
    """

    title: str
    read: Callable[[], float | None]
    describe: Callable[[float, float], str]
    remedy: str = _COOL_DOWN


def thermal_counters(root: Path) -> Gauge:
    """Add up how often the cores of an Intel processor throttled because of heat, since start-up.

    Each core counts its own throttling and that of its package, so the sum counts one event several times.
    """

    def read() -> float | None:
        counts = numbers(root, "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count")
        return sum(counts) if counts else None

    def describe(before: float, after: float) -> str:
        return f"cores counted {after - before:.0f} times that they throttled because of heat" if after > before else ""

    return Gauge("thermal counters", read, describe)


def cooling(root: Path) -> Gauge:
    """Sum the states of the devices that the kernel cools the processor with; 0 is inactive."""

    def read() -> float | None:
        devices = root.glob("sys/class/thermal/cooling_device[0-9]*")
        cpu_devices = [device for device in devices if (first_line(device / "type") or "").startswith(_CPU_COOLING)]
        states = [state for device in cpu_devices if (state := number(device / "cur_state")) is not None]
        return sum(states) if states else None

    def describe(before: float, after: float) -> str:
        return "the system slowed the processor down to cool it" if max(before, after) > 0 else ""

    return Gauge("cooling devices", read, describe)


def clock_limit(root: Path) -> Gauge:
    """Read the lowest limit of a core's clock, in kHz: firmware and drivers lower it under heat."""

    def describe(before: float, after: float) -> str:
        return f"the clock's limit fell from {before / 1e3:.0f} to {after / 1e3:.0f} MHz" if after < before else ""

    limits = "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_max_freq"
    return Gauge("clock limit", lambda: min(numbers(root, limits), default=None), describe)


def clock(root: Path) -> Gauge:
    """Read the clock of the fastest core, in kHz, under the governor `performance`, which requests the highest clock.

    Under any other governor a lower clock only means less work.
    """

    def read() -> float | None:
        folders = root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq")
        steady = [folder for folder in folders if first_line(folder / "scaling_governor") == "performance"]
        return max((khz for folder in steady if (khz := number(folder / "scaling_cur_freq")) is not None), default=None)

    def describe(before: float, after: float) -> str:
        fell = after < _CLOCK_FELL * before
        return f"the clock fell from {before / 1e3:.0f} to {after / 1e3:.0f} MHz" if fell else ""

    return Gauge("clock", read, describe)


def quota_stops(root: Path) -> Gauge:
    """Read how long, in s, control groups stopped processes because the CPU quota was used up."""

    def describe(before: float, after: float) -> str:
        return f"the CPU quota stopped it for {1e3 * (after - before):.0f} ms" if after > before else ""

    remedy = "raise the container's CPU limit, or measure with fewer threads"
    return Gauge("quota stops", lambda: throttled_s(root), describe, remedy)


def board_flags() -> Gauge:
    """Read what a Raspberry Pi's firmware reports about voltage and temperature, by `vcgencmd get_throttled`."""

    def read() -> float | None:
        tool = shutil.which("vcgencmd")
        if tool is None:
            return None
        try:
            done = subprocess.run([tool, "get_throttled"], capture_output=True, text=True, check=True, timeout=5)
            return int(done.stdout.strip().partition("=")[2], 16)
        except (OSError, subprocess.SubprocessError, ValueError):
            return None  # another board's tool, or no permission

    def describe(before: float, after: float) -> str:
        """Report flags that hold after the session, or were raised in it for the first time since start-up."""
        new = int(after) & ~int(before)
        names = [name for bit, name in _BOARD_FLAGS.items() if int(after) >> bit & 1 or new >> (bit + 16) & 1]
        return f"the board reports {', '.join(names)}" if names else ""

    remedy = "use the official power supply and a heat sink or fan, and measure again"
    return Gauge("board flags", read, describe, remedy)


def gpu_clocks() -> Gauge:
    """Read the driver's reasons, as bits, why the first visible NVIDIA GPU runs below its clocks."""

    def reasons(pynvml: Any) -> float:
        return float(pynvml.nvmlDeviceGetCurrentClocksEventReasons(first_visible(pynvml)))

    def describe(before: float, after: float) -> str:
        names = [name for bit, name in _GPU_REASONS.items() if (int(before) | int(after)) & bit]
        return f"the GPU was slowed down: {', '.join(names)}" if names else ""

    remedy = "let the GPU cool, or lock its clocks below the limit (nvidia-smi --lock-gpu-clocks), and measure again"
    return Gauge("GPU clocks", lambda: query(reasons), describe, remedy)


def gauges(root: Path, provider: str = "cpu") -> tuple[Gauge, ...]:
    """Return the gauges that are relevant to measuring with `provider`."""
    by_folder = (make(root) for make in (thermal_counters, cooling, clock_limit, clock, quota_stops))
    return (*by_folder, board_flags(), *([gpu_clocks()] if provider == "cuda" else []))
