"""RAPL: the energy of CPU packages, through Linux's powercap files (Intel, and AMD under the same names).

Since Linux 5.10 only root may read them, because their fine steps reveal what other programs compute (CVE-2020-8694).
"""

from __future__ import annotations

import os
import platform
import re
import time
from abc import abstractmethod
from functools import partial
from pathlib import Path

from kdbench.machine.system_files import NumberFile, text
from kdbench.meters.meter import METERS, Clock, Meter, MeterError, Part, Pause, Rank, State, Unavailable, prove

POWERCAP = Path("/sys/class/powercap")
POWERCAP_VARIABLE = "KDBENCH_POWERCAP"

_PACKAGE = re.compile(r"package-(\d+)(-die-\d+)?")
_MIRRORED_UJ = 1_000_000  # two reads of one counter, a millisecond apart, differ by less than a joule
_MAX_W = 1000  # that a zone can draw for long; the largest packages draw half of it
_X86 = {"x86_64", "amd64", "i386", "i686"}


class _Zone:
    """One zone's counter in microjoules, which wraps to 0 after `max_energy_range_uj`; `last_uj` is its last value."""

    def __init__(self, folder: Path, now_ns: int) -> None:
        # The counter takes the values 0 … max, so it wraps after max + 1 steps.
        self._modulus = int((folder / "max_energy_range_uj").read_text(encoding="ascii")) + 1
        self._energy = NumberFile(folder / "energy_uj")
        self.close = self._energy.close
        self.last_uj = self._energy.read()
        self._last_ns = now_ns
        self._since_uj = 0

    def microjoules(self, now_ns: int) -> int:
        """Return the energy since this object was created; call it at least once between wraps (minutes).

        Raises MeterError if the counter decreased without a wrap, that is, if it was reset.
        """
        now = self._energy.read()
        # A counter that exceeds its declared range has a larger modulus; else its next wrap would add a whole range.
        self._modulus = max(self._modulus, self.last_uj + 1)
        used = (now - self.last_uj) % self._modulus
        if now < self.last_uj and used > _MAX_W * (now_ns - self._last_ns) / 1e3 + _MIRRORED_UJ:
            raise MeterError("RAPL: the counter went back")
        self._since_uj += used
        self.last_uj, self._last_ns = now, now_ns
        return self._since_uj

    def mirrors(self, other: _Zone) -> bool:
        """Return whether both zones show the same counter: their first values are almost equal."""
        difference = (self.last_uj - other.last_uj) % self._modulus
        return min(difference, self._modulus - difference) < _MIRRORED_UJ


class _Powercap(Meter):
    """The sum of some of powercap's zones.

    `root` is the powercap folder: /sys/class/powercap, or the folder in the environment variable KDBENCH_POWERCAP, for
    containers in which the host's folder is elsewhere. The other parameters are for tests.
    """

    stands_for = frozenset({Part.CPU})  # these counters do not include a separate GPU board
    drivers: tuple[str, ...] = ("intel-rapl",)
    zone: re.Pattern[str]

    def __init__(
        self,
        root: Path | None = None,
        clock: Clock = time.monotonic_ns,
        pause: Pause = time.sleep,
        *,
        system: str | None = None,
        machine: str | None = None,
    ) -> None:
        self._root = root or Path(os.environ.get(POWERCAP_VARIABLE) or POWERCAP)
        self._clock = clock
        self._pause = pause
        self._supported = (system or platform.system()) == "Linux" and (machine or platform.machine()).lower() in _X86
        self._zones: list[_Zone] | None = None

    def available(self) -> State:
        """Return whether the counters can be read and advance."""
        folders = self._folders()
        if not folders:
            return self._absent()
        stuck = Unavailable("RAPL: counters do not advance", "measure on bare metal: virtual machines hide them")
        remedy = partial(_remedy, folder=next(iter(folders.values())))
        return prove(self, self._pause, lambda: self._detail(folders), stuck, remedy)

    def read(self) -> tuple[int, float]:
        """Return (monotonic ns, joules since the first read); raises MeterError if the counters cannot be read."""
        try:
            if self._zones is None:
                self._zones = _distinct(self._folders(), self._clock())
            now_ns = self._clock()
            microjoules = sum(zone.microjoules(now_ns) for zone in self._zones)
        except PermissionError as error:
            raise MeterError("RAPL: permission denied") from error
        except (OSError, ValueError) as error:
            raise MeterError("RAPL: unreadable") from error
        if not self._zones:
            raise MeterError("RAPL: no counters")
        return self._clock(), microjoules / 1e6

    def close(self) -> None:
        """Close the zones."""
        for zone in self._zones or ():
            zone.close()
        self._zones = None

    def _folders(self) -> dict[str, Path]:
        """Return the folder of each zone to sum, by the zone's name, from the first driver that has any.

        Each name counts once, because a zone may appear under two paths. In /sys/class/powercap a driver's zones are
        next to its folder; in /sys/devices/virtual/powercap, the folder to pass to a container, they are inside it. The
        parts of a package (core, uncore, dram) have other names.
        """
        zones: dict[str, Path] = {}
        for driver in self.drivers:
            outer, inner = self._root.glob(f"{driver}:*"), self._root.glob(f"{driver}/{driver}:*")
            for folder in (*sorted(outer), *sorted(inner)):
                if self.zone.fullmatch(name := text(folder / "name")):
                    zones.setdefault(name, folder)
            if zones:
                break
        return zones

    @abstractmethod
    def _detail(self, folders: dict[str, Path]) -> str:
        """Describe the covered hardware in a few words."""

    @abstractmethod
    def _absent(self) -> Unavailable:
        """Return why there are no zones."""


@METERS.register("rapl")
class Rapl(_Powercap):
    """The sum of all CPU packages: cores, caches and an integrated GPU, without memory."""

    name = "rapl"
    rank = Rank.COUNTER
    scope = "cpu.package"
    covers = frozenset({Part.CPU})
    drivers = ("intel-rapl", "intel-rapl-mmio")  # the second reads the same counters through another interface
    zone = _PACKAGE

    def _detail(self, folders: dict[str, Path]) -> str:
        packages = len({_package(name) for name in folders})
        return f"{packages} package{'s' if packages > 1 else ''}"

    def _absent(self) -> Unavailable:
        if not self._supported:
            return Unavailable("RAPL: not Linux on x86", expected=False)
        container = f"for a container see {POWERCAP_VARIABLE} in docs/energy.md"
        hint = f"virtual machines hide them; {container}; else sudo modprobe intel_rapl_msr"
        if folder := os.environ.get(POWERCAP_VARIABLE):
            hint = f"{POWERCAP_VARIABLE}={folder} holds no intel-rapl:* folders"
        return Unavailable("RAPL: no counters", hint)


@METERS.register("rapl-psys")
class RaplPsys(_Powercap):
    """The platform domain that some laptops have: the package, memory and other parts of the maker's choice."""

    name = "rapl-psys"
    rank = Rank.BOARD
    scope = "platform"
    covers = frozenset({Part.CPU, Part.GPU, Part.REST})
    zone = re.compile("psys")

    def _detail(self, folders: dict[str, Path]) -> str:
        return f"{', '.join(folders)} domain, the whole platform"

    def _absent(self) -> Unavailable:
        return Unavailable("RAPL: no platform counter", expected=False)


def _distinct(folders: dict[str, Path], now_ns: int) -> list[_Zone]:
    """Open the zones, without dies that show the counter of another die.

    AMD counts per package, and some kernels show that counter once per die: their sum would be a multiple of the
    energy. Separate counters of dies have different values, because they diverge from start-up on.
    """
    packages: dict[str, list[_Zone]] = {}
    for name, folder in folders.items():
        zone, dies = _Zone(folder, now_ns), packages.setdefault(_package(name), [])
        if any(zone.mirrors(die) for die in dies):
            zone.close()
        else:
            dies.append(zone)
    return [zone for dies in packages.values() for zone in dies]


def _package(name: str) -> str:
    """Return the number of the package that a zone belongs to, or the zone's name if it is not a package."""
    match = _PACKAGE.fullmatch(name)
    return match[1] if match else name


def _remedy(reason: str, folder: Path) -> str:
    files = f"{folder.parent / folder.name.partition(':')[0]}:*/energy_uj"
    if "permission" not in reason:
        return f"look at the output of: cat {files}"
    return (
        f"until the next restart: sudo chmod a+r {files}; permanently: run as root, or add the udev rule "
        'SUBSYSTEM=="powercap", ACTION=="add", RUN+="/bin/chmod a+r /sys%p/energy_uj"'
    )
