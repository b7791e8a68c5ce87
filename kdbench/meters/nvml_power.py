"""NVML: the power of a whole GPU board, sampled and integrated, for boards without an energy counter.

nvml.h since CUDA 12.2 (driver 535) has two fields, in milliwatts: the current power on every architecture, and its mean
over a second on Ampere (except GA100) and later. Older drivers have nvmlDeviceGetPowerUsage, which is that mean on the
same boards: https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html

The sensor samples power only part of the time, on A100 and H100 a quarter of it (Yang, Adamek & Armour 2024,
arXiv:2312.02741). So an energy counter is preferred, and a short window of sampled power proves little.
"""

import time
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.machine.system_files import ROOT
from kdbench.meters.meter import METERS, Available, Clock, Part, Pause, Rank, Unavailable
from kdbench.meters.nvml_board import SCOPE, Board, BoardError, check
from kdbench.meters.polled import PolledMeter

if TYPE_CHECKING:
    from kdbench.results.cards import Evidence

_NO_POWER = Unavailable("NVML: no power reading", "virtual GPUs have none; update a driver before 535")
_INVALID = Unavailable("NVML: the power makes no sense", "see nvidia-smi -q -d POWER, and update the driver")
_GPU_ALONE = 0  # scopeId of nvml.h; 1 is a module of GPU and CPU together
# Which member of the union nvmlValue_t holds a value, by its nvmlValueType_t.
_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")


class _BoardPower(PolledMeter):
    """What both power readings of the first visible GPU's board share. Clock, pause and root are for tests."""

    name: str
    rank: Rank
    scope = SCOPE
    covers = frozenset({Part.GPU})
    stands_for = frozenset({Part.GPU})
    evidence: "Evidence" = "measured"
    lag_s: float
    detail: str

    def __init__(
        self, clock: Clock = time.monotonic_ns, pause: Pause = time.sleep, *, root: Path = ROOT, background: bool = True
    ) -> None:
        super().__init__(clock, background=background)
        self._pause = pause
        self._board = Board(_NO_POWER, root)

    def available(self) -> Available | Unavailable:
        """Return whether the driver answers for a whole board, and its power is above zero."""
        return check(self, self._board, self.detail, self._pause)

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
    """The power averaged over a second; a change of load takes a second to show in full."""

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
