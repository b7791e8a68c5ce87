"""What a machine shows of its heat and its clock at the moment. Standard library only."""

from __future__ import annotations

from pathlib import Path

from kdbench.machine.system_files import ROOT, number

_SANE_C = (-40, 150)  # a sensor that is not connected shows anything


def temperature_c(root: Path = ROOT) -> float | None:
    """Return the highest temperature of any thermal zone, None if there is none."""
    zones = (number(zone) for zone in root.glob("sys/class/thermal/thermal_zone*/temp"))
    degrees = [value / 1000 for value in zones if value is not None]
    return max((one for one in degrees if _SANE_C[0] < one < _SANE_C[1]), default=None)


def clock_khz(root: Path = ROOT) -> int | None:
    """Return the clock of the fastest core at the moment, None if it is not shown."""
    files = root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
    return max((khz for file in files if (khz := number(file)) is not None), default=None)
