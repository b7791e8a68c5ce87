"""The NVIDIA board that is measured, and queries of its driver (NVML). Standard library and pynvml only.

NVML numbers all boards, CUDA those that CUDA_VISIBLE_DEVICES leaves:
https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/environment-variables.html
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

_UUID_LENGTH = len("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6")


def query(query_function: Callable[[Any], T]) -> T | None:
    """Return `query_function(pynvml)`, with NVML initialised only for this call.

    None if there is no driver, or if pynvml is not installed: a device that measures a bundle may lack it.
    """
    try:
        import pynvml
    except ImportError:
        return None

    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        try:
            return query_function(pynvml)
        finally:
            pynvml.nvmlShutdown()
    return None


def first_name() -> str:
    """Return the name of the device that CUDA calls 0: an index, a UUID or its beginning, or "" for none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "0" if visible is None else visible.partition(",")[0].strip()


def first_visible(pynvml: Any) -> Any:
    """Return the handle of the device that CUDA calls 0; NVML must have been initialised.

    Raises pynvml.NVMLError if there is no device of that name, or if CUDA_VISIBLE_DEVICES ("", "-1") hides them all.
    """
    name = first_name()
    if name.isdecimal():
        return pynvml.nvmlDeviceGetHandleByIndex(int(name))
    if not name.startswith(("GPU-", "MIG-")):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
    if name.startswith("MIG-") or len(name) >= _UUID_LENGTH:
        return pynvml.nvmlDeviceGetHandleByUUID(name)
    matches = [board for board in _boards(pynvml) if pynvml.nvmlDeviceGetUUID(board).startswith(name)]
    if len(matches) != 1:  # CUDA accepts a prefix that names exactly one board
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
    return matches[0]


def numbers_agree(pynvml: Any) -> bool:
    """Return whether the first visible device has the same number in CUDA and NVML.

    NVML numbers boards by the PCI bus. So does CUDA with CUDA_DEVICE_ORDER=PCI_BUS_ID; otherwise it starts with the
    most capable board, which makes a difference if boards of several types are installed.
    """
    if not first_name().isdecimal() or os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        return True
    return len({pynvml.nvmlDeviceGetName(board) for board in _boards(pynvml)}) <= 1


def _boards(pynvml: Any) -> Iterator[Any]:
    for index in range(pynvml.nvmlDeviceGetCount()):
        with contextlib.suppress(pynvml.NVMLError):  # CUDA does not list lost boards and those of other users either
            yield pynvml.nvmlDeviceGetHandleByIndex(index)
