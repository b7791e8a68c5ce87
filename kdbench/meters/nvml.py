"""NVML: the energy of a whole GPU board, from its own counter.

The counter is there on Volta and later, in millijoules since the driver was loaded, and not on virtual GPUs:
https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html (nvmlDeviceGetTotalEnergyConsumption)
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.machine.system_files import ROOT
from kdbench.meters.meter import METERS, Available, Clock, Part, Pause, Rank, Unavailable
from kdbench.meters.nvml_board import SCOPE, Board, BoardError, check

if TYPE_CHECKING:
    from kdbench.results.cards import Evidence

_NO_COUNTER = Unavailable("NVML: no energy counter", "boards before Volta and virtual GPUs have none")
_FELL_BACK = Unavailable(
    "NVML: the counter fell back", "the GPU or its driver was reset while measuring: measure again"
)


@METERS.register("nvml")
class Nvml:
    """The energy counter of the first visible GPU's board. Clock, pause and root are for tests."""

    name = "nvml"
    rank = Rank.COUNTER
    scope = SCOPE
    covers = frozenset({Part.GPU})
    stands_for = frozenset({Part.GPU})
    evidence: "Evidence" = "measured"
    stepped = True
    lag_s = 0.0

    def __init__(self, clock: Clock = time.monotonic_ns, pause: Pause = time.sleep, *, root: Path = ROOT) -> None:
        self._clock = clock
        self._pause = pause
        self._board = Board(_NO_COUNTER, root)
        self._last_mj = 0

    def available(self) -> Available | Unavailable:
        """Return whether the driver answers for a whole board, and its counter advances."""
        return check(self, self._board, "energy counter of the whole board", self._pause)

    def read(self) -> tuple[int, float]:
        """Return (monotonic ns, joules since the driver was loaded).

        Raises MeterError if the driver refuses, and if the counter was reset.
        """
        # The driver may take some milliseconds to answer, and measured at some moment in between.
        begin = self._clock()
        energy_mj = self._board.query(_energy_mj)
        now = (begin + self._clock()) // 2
        if energy_mj < self._last_mj:
            raise BoardError(_FELL_BACK)
        self._last_mj = energy_mj
        return now, energy_mj / 1e3

    def close(self) -> None:
        """Shut NVML down. Without a client the driver may unload and reset its counter."""
        self._board.close()
        self._last_mj = 0


def _energy_mj(pynvml: Any, handle: Any) -> int:
    return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
