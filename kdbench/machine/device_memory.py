"""Memory that this process holds on the GPU, as the driver (NVML) accounts for it.

The driver lists the processes on a board with what each holds; where it does not (virtual GPUs, containers with
process ids of their own, Windows), the growth of what is used on the whole board stands in, other processes' included.
"""

import os
from typing import Any

from kdbench.machine.nvidia import first_visible


class UnknownError(RuntimeError):
    """The driver does not tell how much of the GPU's memory is used."""


class DeviceMemory:
    """The memory of the first visible GPU, watched from now on; raises UnknownError where the driver is mute."""

    def __init__(self) -> None:
        import pynvml

        try:
            pynvml.nvmlInit()
            self._board = first_visible(pynvml)
            self._before: int = pynvml.nvmlDeviceGetMemoryInfo(self._board).used
        except pynvml.NVMLError as error:
            raise UnknownError(f"NVML: {error}") from error

    def taken(self) -> tuple[int, str]:
        """Return the bytes this process holds on the GPU now, its CUDA context included, and how they were counted."""
        import pynvml

        try:
            if (own := _of_this_process(pynvml, self._board)) is not None:
                return own, "NVML, of this process"
            grown: int = pynvml.nvmlDeviceGetMemoryInfo(self._board).used - self._before
        except pynvml.NVMLError as error:
            raise UnknownError(f"NVML: {error}") from error
        return max(grown, 0), "NVML, growth of the board's used memory, whoever used it"


def _of_this_process(pynvml: Any, board: Any) -> int | None:
    listed = pynvml.nvmlDeviceGetComputeRunningProcesses(board)
    return next((each.usedGpuMemory for each in listed if each.pid == os.getpid()), None)
