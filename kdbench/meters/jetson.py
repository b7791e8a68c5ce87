"""Jetson: the power of a whole NVIDIA Jetson module, from the INA3221 monitors on it.

Sources for the order of the rails: "Power monitor" in NVIDIA's Jetson Linux Developer Guide (AGX Orin, r35:
"VDDQ_VDD2_1V8AO power is also included in VIN_SYS_5V0 power"), the Jetson AGX Xavier Series Product Design Guide
(DG-09840-001, figure 5-14: five supplies from SYS_VIN_HV, and the 5 V input), and the device trees of Linux
(tegra194-p2888, tegra194-p3668, tegra234-p3701, tegra234-p3767) for the names.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import prod
from pathlib import Path

from kdbench.machine.system_files import ROOT, NumberFile, is_tegra, text
from kdbench.meters.meter import METERS, Clock, MeterError, Part, Pause, PolledMeter, Rank, State, Unavailable, prove

# Sets of rails that together supply a whole module, none behind another; the first complete set is used. They leave
# out rails of the carrier board (VDD_MUX, CVB_ATX_12V, …) and rails behind these.
_MODULES = (
    ("VDD_IN",),  # TX1, TX2, Xavier NX, Orin NX, Orin Nano
    ("POM_5V_IN",),  # Nano
    ("5V_IN",),  # Xavier NX, by its guide
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),  # AGX Orin
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),  # AGX Xavier
)


@dataclass(frozen=True)
class _Rail:
    """A channel of a monitor; the product of its files' numbers times `unit_w` is its power in watts."""

    name: str
    files: tuple[Path, ...]
    unit_w: float


@METERS.register("jetson")
class Jetson(PolledMeter):
    """The power of the module: CPU, GPU, memory and its converters, without the carrier board.

    `root`, clock, pause and `background` are for tests.
    """

    name = "jetson"
    rank = Rank.BOARD
    scope = "module"
    covers = frozenset({Part.CPU, Part.GPU, Part.REST})
    stands_for = frozenset({Part.CPU, Part.GPU})
    poll_s = 0.05
    # NVIDIA's driver of JetPack 4 has the monitor average 64 rounds of three channels, 1.1 ms each for voltage and
    # current: 0.42 s. The driver of Linux, in later JetPacks, averages none by default.
    lag_s = 0.5

    def __init__(
        self, root: Path = ROOT, clock: Clock = time.monotonic_ns, pause: Pause = time.sleep, *, background: bool = True
    ) -> None:
        super().__init__(clock, pause, background=background)
        self._root = root
        self._open: list[tuple[float, list[NumberFile]]] = []

    def available(self) -> State:
        """Return whether all rails of the module exist and can be read."""
        if not is_tegra(self._root):
            return Unavailable("Jetson: not a Jetson", expected=False)
        rails = _rails(self._root)
        if not rails:
            return Unavailable("Jetson: no power monitor", "sudo modprobe ina3221; a Jetson Nano 2GB has none")
        module = _module(rails)
        if not module:
            sets = ", or ".join(" + ".join(names) for names in _MODULES)
            hint = f"its monitors show {', '.join(sorted(rails))}; the whole module is {sets}"
            return Unavailable("Jetson: rails unknown", hint)
        files = " ".join(str(file) for rail in module for file in rail.files)
        return prove(
            self,
            self._pause,
            lambda: " + ".join(rail.name for rail in module),
            Unavailable("Jetson: counter does not advance", "look at the output of tegrastats"),
            lambda reason: f"{'sudo chmod a+r' if 'permission' in reason else 'look at the output of: cat'} {files}",
        )

    def watts(self) -> float:
        """Return the power of the module; raises MeterError if a rail cannot be read."""
        try:
            if not self._open:
                module = _module(_rails(self._root))
                self._open = [(rail.unit_w, [NumberFile(file) for file in rail.files]) for rail in module]
            total = sum(prod(file.read() for file in files) * unit_w for unit_w, files in self._open)
        except PermissionError as error:
            raise MeterError("Jetson: permission denied") from error
        except (OSError, ValueError) as error:
            raise MeterError("Jetson: unreadable") from error
        if total <= 0:  # a rail can be off, or read slightly below 0; a running module cannot
            raise MeterError("Jetson: no power read")
        return total

    def close(self) -> None:
        """Stop the thread and close the rails."""
        super().close()
        for file in (file for _, files in self._open for file in files):
            file.close()
        self._open = []


def _rails(root: Path) -> dict[str, _Rail]:
    """Return the channels of every monitor that are wired and switched on, by name."""
    drivers = root / "sys/bus/i2c/drivers"
    channels = [
        *(_hwmon(label) for label in drivers.glob("ina3221/*/hwmon/hwmon*/in[123]_label")),  # JetPack 5 and later
        *(_iio(label) for label in drivers.glob("ina3221x/*/iio:device*/rail_name_*")),  # JetPack 4 and before
    ]
    # Channels without a wire are labelled NC (AGX Orin).
    return {rail.name: rail for rail in channels if rail is not None and rail.name not in {"", "NC"}}


def _hwmon(label: Path) -> _Rail | None:
    """Return the channel that a label of hwmon names: millivolts and milliamperes."""
    channel = label.name[2]
    volts, amperes = label.with_name(f"in{channel}_input"), label.with_name(f"curr{channel}_input")
    off = text(label.with_name(f"in{channel}_enable")) == "0"
    if off or not (volts.exists() and amperes.exists()):
        return None
    return _Rail(text(label), (volts, amperes), 1e-6)


def _iio(label: Path) -> _Rail | None:
    """Return the channel that a label of iio names: milliwatts."""
    power = label.with_name(f"in_power{label.name.removeprefix('rail_name_')}_input")
    return _Rail(text(label), (power,), 1e-3) if power.exists() else None


def _module(rails: dict[str, _Rail]) -> list[_Rail]:
    """Return the rails that make up the module; none if the set is incomplete."""
    complete = next((names for names in _MODULES if rails.keys() >= set(names)), ())
    return [rails[name] for name in complete]
