"""The NVIDIA board that NVML meters, and what each NVML error means for a measurement.

Energy and power cover the whole board, including memory and voltage regulators; no part is metered alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from kdbench.machine.nvidia import first_name, first_visible, numbers_agree
from kdbench.machine.system_files import is_tegra
from kdbench.meters.meter import MeterError, Unavailable

T = TypeVar("T")

SCOPE = "gpu0.board"

_CHECK = "look at the output of nvidia-smi"
STUCK = Unavailable("NVML: energy does not advance", _CHECK)
_RESTART = "restart the machine"
_DEVICES = "/dev/nvidiactl and /dev/nvidia0"
# Reason and remedy by the code's name in nvml.h (nvmlReturn_t), without NVML_ERROR_.
_ERRORS = {
    "LIBRARY_NOT_FOUND": ("no NVIDIA driver", "install the driver; a container needs access to the GPU (--gpus all)"),
    "DRIVER_NOT_LOADED": ("no NVIDIA driver", "load the kernel module: sudo modprobe nvidia"),
    "LIB_RM_VERSION_MISMATCH": ("driver and library differ", f"the driver was updated while it ran: {_RESTART}"),
    "FUNCTION_NOT_FOUND": ("the driver is too old", "update the NVIDIA driver"),
    "NO_PERMISSION": ("permission denied", f"let your user open {_DEVICES}, or pass them to the container"),
    "OPERATING_SYSTEM": (
        "blocked by the system",
        "a container's or a service's policy denies access to /dev/nvidia*: allow it",
    ),
    "INSUFFICIENT_POWER": ("the GPU lacks power", "attach the board's external power cables"),
    "GPU_IS_LOST": ("the GPU is lost", f"it is no longer on the PCIe bus: {_RESTART}, look at dmesg"),
    "RESET_REQUIRED": ("the GPU needs a reset", f"sudo nvidia-smi --gpu-reset, or {_RESTART}"),
}
_JETSON = Unavailable("NVML: unsupported on a Jetson", "its board has power sensors of its own", expected=False)
_NOT_INSTALLED = Unavailable("NVML: no nvidia-ml-py", "pip install nvidia-ml-py")
_SLICE = Unavailable(
    "NVML: a MIG slice has no meter",
    "NVML reports the whole board's energy: switch MIG off (sudo nvidia-smi -mig 0), or measure on another GPU",
)
_NUMBERS = Unavailable(
    "NVML: ambiguous GPU",
    "there are GPUs of several types: export CUDA_DEVICE_ORDER=PCI_BUS_ID, so that CUDA numbers them as NVML does",
)


class BoardError(MeterError):
    """Raised if a board cannot be read; `state` holds the reason, which is also the message, and the remedy."""

    def __init__(self, state: Unavailable) -> None:
        super().__init__(state.reason)
        self.state = state


class Board:
    """The board of the GPU that CUDA calls 0. The first query initialises NVML, `close` shuts it down.

    `unsupported` is the reason to report for NVML_ERROR_NOT_SUPPORTED.
    """

    def __init__(self, unsupported: Unavailable, root: Path) -> None:
        self._unsupported = unsupported
        self._root = root
        self._handle: Any = None

    def query(self, query_function: Callable[[Any, Any], T]) -> T:
        """Return `query_function(pynvml, handle)`; raises BoardError."""
        try:
            import pynvml
        except ImportError as error:  # on a device that measures a bundle
            raise BoardError(_NOT_INSTALLED) from error
        try:
            if self._handle is None:
                self._handle = _open(pynvml, self._root)
            return query_function(pynvml, self._handle)
        except pynvml.NVMLError as error:
            raise BoardError(self._state(pynvml, error)) from error

    def name(self) -> str:
        """Return the board's name; raises BoardError."""
        return str(self.query(lambda pynvml, handle: pynvml.nvmlDeviceGetName(handle)))

    def close(self) -> None:
        """Shut NVML down if it was initialised here."""
        if self._handle is not None:
            import pynvml

            self._handle = None
            _shut_down(pynvml)

    def _state(self, pynvml: Any, error: Any) -> Unavailable:
        # Drivers report an unknown field as an invalid argument.
        if error.value in {pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_INVALID_ARGUMENT}:
            return self._unsupported
        known = (state for name, state in _ERRORS.items() if getattr(pynvml, f"NVML_ERROR_{name}") == error.value)
        reason, hint = next(known, (f"error {error.value}", f"{error}: {_CHECK}"))
        return Unavailable(f"NVML: {reason}", hint)


def _open(pynvml: Any, root: Path) -> Any:
    """Initialise NVML and return the first visible board's handle; shut NVML down if that fails.

    Raises NVMLError, and BoardError if there is no board, or only a slice of one.
    """
    # On a Jetson NVML has a device as well, which supports no energy or power query.
    if is_tegra(root):
        raise BoardError(_JETSON)
    pynvml.nvmlInit()
    with contextlib.ExitStack() as stack:
        stack.callback(_shut_down, pynvml)
        if first_name().startswith("MIG-"):
            raise BoardError(_SLICE)
        try:
            handle = first_visible(pynvml)
        except (pynvml.NVMLError_NotFound, pynvml.NVMLError_InvalidArgument) as error:
            raise BoardError(_absent()) from error
        if _sliced(pynvml, handle):
            raise BoardError(_SLICE)
        if not numbers_agree(pynvml):
            raise BoardError(_NUMBERS)
        stack.pop_all()
    return handle


def _shut_down(pynvml: Any) -> None:
    with contextlib.suppress(pynvml.NVMLError):  # a lost GPU cannot be shut down properly
        pynvml.nvmlShutdown()


def _sliced(pynvml: Any, handle: Any) -> bool:
    """Return whether the handle is a MIG slice, or its board is divided into slices (CUDA then uses the first one)."""
    try:
        if pynvml.nvmlDeviceIsMigDeviceHandle(handle):
            return True
        current, _pending = pynvml.nvmlDeviceGetMigMode(handle)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return False  # a board or driver older than MIG
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _absent() -> Unavailable:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return Unavailable("NVML: no GPU", "the driver runs but lists none: see nvidia-smi -L")
    if first_name() in {"", "-1"}:
        return Unavailable("NVML: every GPU is hidden", f"CUDA_VISIBLE_DEVICES={visible!r} hides them: unset it")
    hint = f"CUDA_VISIBLE_DEVICES={visible!r}: its first entry must be a GPU that nvidia-smi -L lists"
    return Unavailable("NVML: no such GPU", hint)
