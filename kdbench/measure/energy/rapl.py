"""RAPL: the energy of CPU packages, through Linux's powercap files (Intel, and AMD under the same names)."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.measure.energy.source import SOURCES, Available, Clock, Pause, Unavailable, advances

if TYPE_CHECKING:
    from kdbench.records import Evidence

POWERCAP = Path("/sys/class/powercap")


class _Domain:
    """One package's counter in microjoules, which starts again from 0 after `max_energy_range_uj`."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "energy_uj"
        # The counter takes the values 0 ... max, so a turn is max + 1 steps.
        self._turn = int((folder / "max_energy_range_uj").read_text()) + 1
        self._last = int(self._file.read_text())
        self._since_uj = 0

    def joules(self) -> float:
        """Return the energy since this object was made; to be called at least once a turn (minutes)."""
        now = int(self._file.read_text())
        self._since_uj += (now - self._last) % self._turn
        self._last = now
        return self._since_uj / 1e6


@SOURCES.register("rapl")
class Rapl:
    """The sum of all CPU packages. `root` is the powercap folder; clock and pause are for tests."""

    name = "rapl"
    providers = frozenset({"cpu"})
    scope = "cpu.package"
    evidence: "Evidence" = "measured"

    def __init__(self, root: Path = POWERCAP, clock: Clock = time.monotonic_ns, pause: Pause = time.sleep) -> None:
        self._root = root
        self._clock = clock
        self._pause = pause
        self._domains: list[_Domain] | None = None

    def available(self) -> Available | Unavailable:
        """Say whether every package's counter can be read and moves."""
        packages = self._packages()
        if not packages:
            return Unavailable(
                f"RAPL: no counters under {self._root} (a virtual machine?)", "measure on the machine itself, on Linux"
            )
        try:
            moves = advances(self, self._pause)
        except PermissionError:
            return Unavailable(
                "RAPL: the counters are readable by root only", f"sudo chmod a+r {self._root}/*/energy_uj"
            )
        except (OSError, ValueError) as error:
            return Unavailable(f"RAPL: a counter cannot be read: {error}", "check the kernel's powercap driver")
        if not moves:
            return Unavailable("RAPL: the counters stand still", "the firmware or a virtual machine hides them")
        return Available(f"{len(packages)} CPU packages")

    def read(self) -> tuple[int, float]:
        """Return (monotonic ns, joules since the first read)."""
        if self._domains is None:
            self._domains = [_Domain(folder) for folder in self._packages()]
        joules = sum(domain.joules() for domain in self._domains)
        return self._clock(), joules

    def _packages(self) -> list[Path]:
        """Return the package domains.

        Their parts (`intel-rapl:0:0`) lie inside them, psys holds them, and `intel-rapl-mmio` counts them again.
        """
        folders = sorted(self._root.glob("intel-rapl:*"))
        return [f for f in folders if f.name.count(":") == 1 and _name(f).startswith("package")]


def _name(folder: Path) -> str:
    try:
        return (folder / "name").read_text().strip()
    except OSError:
        return ""
