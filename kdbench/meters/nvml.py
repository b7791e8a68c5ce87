"""NVML: the energy of a whole GPU board, from its own counter or from sampled power.

Boards since Volta have a counter of millijoules since the driver was loaded; virtual GPUs have none:
https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html (nvmlDeviceGetTotalEnergyConsumption)

For boards without a counter, power is sampled and integrated. nvml.h since CUDA 12.2 (driver 535) has two fields, in
milliwatts: the current power on every architecture, and its mean over a second on Ampere (except GA100) and later.
Older drivers have nvmlDeviceGetPowerUsage, which is that mean on the same boards.

The sensor samples power only during part of the time, on A100 and H100 during a quarter (Yang, Adamek & Armour 2024,
arXiv:2312.02741). So an energy counter is preferred, and a short window of sampled power is not reliable.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from pathlib import Path
from typing import Any

from kdbench.machine.system_files import ROOT
from kdbench.meters.meter import METERS, Clock, Meter, Part, Pause, PolledMeter, Rank, State, Unavailable, prove
from kdbench.meters.nvml_board import SCOPE, STUCK, Board, BoardError

_NO_COUNTER = Unavailable("NVML: no energy counter", "boards before Volta and virtual GPUs have none")
_FELL_BACK = Unavailable(
    "NVML: the counter went back", "the GPU or its driver was reset while measuring: measure again"
)
_NO_POWER = Unavailable("NVML: no power reading", "virtual GPUs have none; update a driver before 535")
_INVALID = Unavailable("NVML: implausible power", "see nvidia-smi -q -d POWER, and update the driver")
_GPU_ALONE = 0  # scopeId of nvml.h; 1 is a module of GPU and CPU together
# Which member of the union nvmlValue_t holds a value, by its nvmlValueType_t.
_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")


@METERS.register("nvml")
class Nvml(Meter):
    """The energy counter of the first visible GPU's board. Clock, pause and root are for tests."""

    name = "nvml"
    rank = Rank.COUNTER
    scope = SCOPE
    covers = frozenset({Part.GPU})
    stands_for = frozenset({Part.GPU})

    def __init__(self, clock: Clock = time.monotonic_ns, pause: Pause = time.sleep, *, root: Path = ROOT) -> None:
        self._clock = clock
        self._pause = pause
        self._board = Board(_NO_COUNTER, root)
        self._last_mj = 0

    def available(self) -> State:
        """Return whether the driver reports a whole board, and its counter advances."""
        return prove(self, self._pause, lambda: f"{self._board.name()}: energy counter of the whole board", STUCK)

    def read(self) -> tuple[int, float]:
        """Return (monotonic ns, joules since the driver was loaded).

        Raises MeterError if the driver refuses, and if the counter was reset.
        """
        # The driver may need some milliseconds, and measures at an unknown moment in between.
        begin = self._clock()
        energy_mj = self._board.query(lambda pynvml, handle: int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)))
        now = (begin + self._clock()) // 2
        if energy_mj < self._last_mj:
            raise BoardError(_FELL_BACK)
        self._last_mj = energy_mj
        return now, energy_mj / 1e3

    def close(self) -> None:
        """Shut NVML down. Without a client the driver may unload and reset its counter."""
        self._board.close()
        self._last_mj = 0


class _BoardPower(PolledMeter):
    """The power of the first visible GPU's board. Clock, pause and root are for tests."""

    scope = SCOPE
    covers = frozenset({Part.GPU})
    stands_for = frozenset({Part.GPU})
    detail: str

    def __init__(
        self, clock: Clock = time.monotonic_ns, pause: Pause = time.sleep, *, root: Path = ROOT, background: bool = True
    ) -> None:
        super().__init__(clock, pause, background=background)
        self._board = Board(_NO_POWER, root)

    def available(self) -> State:
        """Return whether the driver reports a whole board, and its power is above zero."""
        return prove(self, self._pause, lambda: f"{self._board.name()}: {self.detail}", STUCK)

    def watts(self) -> float:
        """Return the board's power; raises MeterError if the driver refuses."""
        power_w = self._board.query(self._milliwatts) / 1e3
        if not 0 <= power_w < float("inf"):
            raise BoardError(_INVALID)
        return power_w

    def close(self) -> None:
        """Stop the thread, then shut NVML down."""
        super().close()
        self._board.close()

    @abstractmethod
    def _milliwatts(self, pynvml: Any, handle: Any) -> float:
        """Return the power in milliwatts; raises NVMLError."""


@METERS.register("nvml-power")
class NvmlPower(_BoardPower):
    """The current power; the sensor updates it 10 to 50 times a second."""

    name = "nvml-power"
    rank = Rank.POWER
    lag_s = 0.1
    poll_s = 0.05
    detail = "power of the whole board, sampled"

    def _milliwatts(self, pynvml: Any, handle: Any) -> float:
        return _field(pynvml, handle, pynvml.NVML_FI_DEV_POWER_INSTANT)


@METERS.register("nvml-mean-power")
class NvmlMeanPower(_BoardPower):
    """The power averaged over a second; it reflects a change of load fully after a second."""

    name = "nvml-mean-power"
    rank = Rank.MEAN_POWER
    lag_s = 1.0
    poll_s = 0.1
    detail = "mean power of the whole board, sampled"

    def _milliwatts(self, pynvml: Any, handle: Any) -> float:
        unknown = pynvml.NVMLError_NotSupported, pynvml.NVMLError_InvalidArgument, pynvml.NVMLError_FunctionNotFound
        try:
            return _field(pynvml, handle, pynvml.NVML_FI_DEV_POWER_AVERAGE)
        except unknown:
            return float(pynvml.nvmlDeviceGetPowerUsage(handle))


def _field(pynvml: Any, handle: Any, field: int) -> float:
    """Return the field's value; raises NVMLError by the field's own status."""
    (result,) = pynvml.nvmlDeviceGetFieldValues(handle, [(field, _GPU_ALONE)])
    if result.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(result.nvmlReturn)
    if result.valueType >= len(_MEMBERS):
        raise BoardError(_INVALID)
    return float(getattr(result.value, _MEMBERS[result.valueType]))
