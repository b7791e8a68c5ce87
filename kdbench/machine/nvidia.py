"""Which NVIDIA board is meant: NVML numbers all that there are, CUDA those that CUDA_VISIBLE_DEVICES leaves.

What CUDA makes of its variables: https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/environment-variables.html
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

_UUID_LENGTH = len("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6")


def first_name() -> str:
    """Return the name of the device that CUDA calls 0: an index, a UUID or the beginning of one, or "" for none."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "0" if listed is None else listed.partition(",")[0].strip()


def first_visible(pynvml: Any) -> Any:
    """Return the handle of the device that CUDA calls 0; NVML must have been initialised.

    Raises pynvml.NVMLError where there is none of that name, or where CUDA_VISIBLE_DEVICES ("", "-1") hides them all.
    """
    name = first_name()
    if name.isdecimal():
        return pynvml.nvmlDeviceGetHandleByIndex(int(name))
    if not name.startswith(("GPU-", "MIG-")):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
    if name.startswith("GPU-") and len(name) < _UUID_LENGTH:
        return _beginning_with(pynvml, name)
    return pynvml.nvmlDeviceGetHandleByUUID(name)


def numbers_agree(pynvml: Any) -> bool:
    """Return whether the number of the first visible device is the same to CUDA and NVML.

    NVML counts along the PCI bus. So does CUDA with CUDA_DEVICE_ORDER=PCI_BUS_ID; else it puts the most capable
    board first, which makes a difference where boards of several kinds are installed.
    """
    if not first_name().isdecimal() or os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        return True
    return len({pynvml.nvmlDeviceGetName(board) for board in _boards(pynvml)}) <= 1


def _beginning_with(pynvml: Any, beginning: str) -> Any:
    found = [board for board in _boards(pynvml) if pynvml.nvmlDeviceGetUUID(board).startswith(beginning)]
    if len(found) != 1:  # CUDA accepts what names one board alone
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
    return found[0]


def _boards(pynvml: Any) -> Iterator[Any]:
    for index in range(pynvml.nvmlDeviceGetCount()):
        with contextlib.suppress(pynvml.NVMLError):  # one that is lost, or another user's, is nothing to CUDA either
            yield pynvml.nvmlDeviceGetHandleByIndex(index)
