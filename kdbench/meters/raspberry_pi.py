"""Raspberry Pi 5: the power of the rails behind its power-management chip (PMIC), from the firmware."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from kdbench.machine.system_files import ROOT, text
from kdbench.meters.meter import METERS, Clock, MeterError, Part, Pause, PolledMeter, Rank, State, Unavailable, prove

Which = Callable[[str], Optional[str]]
Run = Callable[[list[str]], str]

TOOL = "vcgencmd"
_TIMEOUT_S = 5.0
# ` 3V7_WL_SW_A current(0)=0.00390372A`, ` 3V7_WL_SW_V volt(8)=3.69900000V`
_READING = re.compile(r"(?P<rail>\w+)_(?:A current|V volt)\(\d+\)=(?P<number>\d+(?:\.\d+)?)(?P<unit>[AV])")
# What newer and older releases of the tool print if it may not open its device.
_DENIALS = ("Can't open device file", "VCHI initialization failed")

_DENIED = "Raspberry Pi: permission denied"
_NO_RAILS = "Raspberry Pi: no PMIC readings"
_FAILED = "Raspberry Pi: vcgencmd failed"
_REMEDIES = {
    _DENIED: "sudo usermod -aG video $USER, and log in again; for a container: --device /dev/vcio",
    _NO_RAILS: "boards before the Raspberry Pi 5 have no PMIC meter; on a 5: sudo rpi-eeprom-update -a, and restart",
}


def run_tool(command: list[str]) -> str:
    """Return all output of a command, whatever its exit status; raises OSError and subprocess.SubprocessError."""
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_TIMEOUT_S, check=False
    ).stdout


@METERS.register("raspberry-pi")
class RaspberryPi(PolledMeter):
    """The sum of volts times amperes over the rails of a Raspberry Pi 5's PMIC (`vcgencmd pmic_read_adc`).

    It excludes everything on the 5 V input, which has a voltage reading but no current: USB devices, HATs, the fan, and
    the losses of the converters. A meter at the wall socket shows more. The parameters are for tests.
    """

    name = "raspberry-pi"
    rank = Rank.BOARD
    scope = "board.pmic"
    covers = frozenset({Part.CPU, Part.GPU, Part.REST})
    stands_for = frozenset({Part.CPU})
    poll_s = 0.2  # each reading starts a process: some milliseconds of one core
    lag_s = 0.2  # the chip does not average: the next reading reflects a change

    def __init__(
        self,
        root: Path = ROOT,
        clock: Clock = time.monotonic_ns,
        pause: Pause = time.sleep,
        *,
        which: Which = shutil.which,
        run: Run = run_tool,
        background: bool = True,
    ) -> None:
        super().__init__(clock, pause, background=background)
        self._root = root
        self._which = which
        self._run = run
        self._rails: frozenset[str] = frozenset()

    def available(self) -> State:
        """Return whether the firmware returns readings of the PMIC."""
        if not text(self._root / "proc/device-tree/model").startswith("Raspberry Pi"):
            return Unavailable("Raspberry Pi: not a Raspberry Pi", expected=False)
        if self._which(TOOL) is None:
            hint = "sudo apt install raspi-utils (on Ubuntu: libraspberrypi-bin)"
            return Unavailable("Raspberry Pi: no vcgencmd", hint)
        hint = f"look at the output of: {TOOL} pmic_read_adc"
        return prove(
            self,
            self._pause,
            lambda: f"{len(self._rails)} rails of the PMIC, without USB and HATs",
            Unavailable("Raspberry Pi: does not advance", hint),
            lambda reason: _REMEDIES.get(reason, hint),
        )

    def watts(self) -> float:
        """Return the power of all rails; raises MeterError if one is missing."""
        rails = _rails(self._read_adc())
        if not rails:
            raise MeterError(_NO_RAILS)
        if self._rails and rails.keys() != self._rails:
            raise MeterError("Raspberry Pi: a rail is missing")
        self._rails = frozenset(rails)
        total = sum(rails.values())
        if total <= 0:
            raise MeterError("Raspberry Pi: no power read")
        return total

    def close(self) -> None:
        """Stop the thread and clear the list of rails."""
        super().close()
        self._rails = frozenset()

    def _read_adc(self) -> str:
        try:
            output = self._run([self._which(TOOL) or TOOL, "pmic_read_adc"])
        except subprocess.TimeoutExpired as error:
            raise MeterError("Raspberry Pi: vcgencmd hangs") from error
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise MeterError(_FAILED) from error
        if any(denial in output for denial in _DENIALS):
            raise MeterError(_DENIED)
        return output


def _rails(output: str) -> dict[str, float]:
    """Return the watts of each rail that has both a current and a voltage among the readings."""
    readings: dict[str, dict[str, float]] = {"A": {}, "V": {}}
    for line in output.splitlines():
        if match := _READING.fullmatch(line.strip()):
            readings[match["unit"]][match["rail"]] = float(match["number"])
    amperes, volts = readings["A"], readings["V"]
    return {rail: amperes[rail] * volts[rail] for rail in amperes if rail in volts}
