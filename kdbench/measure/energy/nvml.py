"""NVML: the energy of a whole GPU board, from its total energy counter (Volta and later)."""

import os
import time
from typing import TYPE_CHECKING, Any

from kdbench.measure.energy.source import SOURCES, Available, Clock, Pause, Unavailable, advances

if TYPE_CHECKING:
    from kdbench.records import Evidence


@SOURCES.register("nvml")
class Nvml:
    """The board of the first visible GPU. Clock and pause are for tests."""

    name = "nvml"
    providers = frozenset({"cuda"})
    scope = "gpu0.board"
    evidence: "Evidence" = "measured"

    def __init__(self, clock: Clock = time.monotonic_ns, pause: Pause = time.sleep) -> None:
        self._clock = clock
        self._pause = pause
        self._handle: Any = None

    def available(self) -> Available | Unavailable:
        """Say whether the driver answers and the board's counter moves."""
        import pynvml

        try:
            moves = advances(self, self._pause)
        except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
            return Unavailable("NVML: no NVIDIA driver", "install the driver, or measure with --provider cpu")
        except pynvml.NVMLError_NotSupported:
            return Unavailable(
                "NVML: this GPU has no total energy counter", "virtual GPUs, Jetsons and boards before Volta have none"
            )
        except pynvml.NVMLError as error:
            return Unavailable(f"NVML: {error}", "check nvidia-smi")
        if not moves:
            return Unavailable("NVML: the energy counter stands still", "check nvidia-smi")
        return Available(f"board of {self.scope.partition('.')[0]}, total energy counter")

    def read(self) -> tuple[int, float]:
        """Return (monotonic ns, joules since the driver was loaded)."""
        import pynvml

        if self._handle is None:
            pynvml.nvmlInit()
            self._handle = first_visible(pynvml)
        millijoules: int = pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        return self._clock(), millijoules / 1e3


def first_visible(pynvml: Any) -> Any:
    """Return the device that CUDA calls 0: NVML itself does not heed CUDA_VISIBLE_DEVICES."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip() or "0"
    if first.isdigit():
        return pynvml.nvmlDeviceGetHandleByIndex(int(first))
    return pynvml.nvmlDeviceGetHandleByUUID(first)
