"""Gauges of throttling that no file shows: a board's firmware and a GPU's driver answer for them."""

import shutil
import subprocess
from typing import ClassVar

# Of vcgencmd get_throttled: what holds now is bits 0 to 3; the same 16 higher has happened since start-up.
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


class Board:
    """What a Raspberry Pi's firmware tells of its voltage and temperature."""

    title: ClassVar[str] = "board flags"
    remedy: ClassVar[str] = "use the official power supply and a heat sink or fan, and measure again"

    def read(self) -> float | None:
        """Return the flags of `vcgencmd get_throttled`."""
        tool = shutil.which("vcgencmd")
        if tool is None:
            return None
        try:
            told = subprocess.run([tool, "get_throttled"], capture_output=True, text=True, check=True, timeout=5)
            return int(told.stdout.strip().partition("=")[2], 16)
        except (OSError, subprocess.SubprocessError, ValueError):
            return None  # another board's tool, or no right to ask

    def sign(self, before: float, after: float) -> str:
        """Tell what holds after the session, or has happened in it for the first time since start-up."""
        new = int(after) & ~int(before)
        names = [name for bit, name in _BOARD_FLAGS.items() if int(after) >> bit & 1 or new >> (bit + 16) & 1]
        return f"the board tells of {', '.join(names)}" if names else ""


class GpuClocks:
    """Why the first visible NVIDIA GPU runs below its clocks, as the driver tells it."""

    title: ClassVar[str] = "GPU clocks"
    remedy: ClassVar[str] = (
        "let the GPU cool, or lock its clocks below the limit (nvidia-smi --lock-gpu-clocks), and measure again"
    )

    def read(self) -> float | None:
        """Return the bits of the reasons that hold now."""
        import pynvml

        from kdbench.machine.nvidia import first_visible

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return None
        try:
            return float(pynvml.nvmlDeviceGetCurrentClocksEventReasons(first_visible(pynvml)))
        except pynvml.NVMLError:
            return None
        finally:
            pynvml.nvmlShutdown()

    def sign(self, before: float, after: float) -> str:
        """Tell the reasons that hold right before or right after the session."""
        names = [name for bit, name in _GPU_REASONS.items() if (int(before) | int(after)) & bit]
        return f"the GPU was slowed down: {', '.join(names)}" if names else ""
