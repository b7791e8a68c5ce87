"""The NVIDIA board whose energy and power NVML tells, and what each of its refusals means for a measurement.

What is read here is the whole board's, memory and voltage regulators included; no part of it is metered alone.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from kdbench.machine.nvidia import first_name, first_visible, numbers_agree
from kdbench.machine.system_files import is_tegra
from kdbench.meters.meter import Available, Meter, MeterError, Pause, Unavailable, advances

T = TypeVar("T")

SCOPE = "gpu0.board"

_CHECK = "see what nvidia-smi says"
# By the code's name in nvml.h (nvmlReturn_t), without NVML_ERROR_.
_REFUSALS = {
    "LIBRARY_NOT_FOUND": Unavailable(
        "NVML: no NVIDIA driver", "install the driver; a container needs the GPU passed on (--gpus all)"
    ),
    "DRIVER_NOT_LOADED": Unavailable("NVML: no NVIDIA driver", "load the kernel module: sudo modprobe nvidia"),
    "LIB_RM_VERSION_MISMATCH": Unavailable(
        "NVML: driver and library differ", "the driver was updated while it ran: restart the machine"
    ),
    "FUNCTION_NOT_FOUND": Unavailable("NVML: the driver is too old", "update the NVIDIA driver"),
    "NO_PERMISSION": Unavailable(
        "NVML: permission denied", "let your user open /dev/nvidiactl and /dev/nvidia0, or pass them to the container"
    ),
    "OPERATING_SYSTEM": Unavailable(
        "NVML: blocked by the system", "a container's or a service's policy keeps /dev/nvidia* closed: allow it"
    ),
    "INSUFFICIENT_POWER": Unavailable("NVML: the GPU lacks power", "attach the board's external power cables"),
    "GPU_IS_LOST": Unavailable("NVML: the GPU is lost", "it fell off the bus: restart the machine, look at dmesg"),
    "RESET_REQUIRED": Unavailable("NVML: the GPU needs a reset", "sudo nvidia-smi --gpu-reset, or restart the machine"),
}
_JETSON = Unavailable("NVML: unsupported on a Jetson", "its board has power sensors of its own", expected=False)
_SLICE = Unavailable(
    "NVML: a MIG slice has no meter",
    "NVML tells the whole board's energy: switch MIG off (sudo nvidia-smi -mig 0), or measure on another GPU",
)
_NUMBERS = Unavailable(
    "NVML: unclear which GPU is used",
    "there are several kinds: export CUDA_DEVICE_ORDER=PCI_BUS_ID, so that CUDA numbers them as NVML does",
)


class BoardError(MeterError):
    """A board that does not answer; `state` is the reason, which is the message too, and what to do about it."""

    def __init__(self, state: Unavailable) -> None:
        super().__init__(state.reason)
        self.state = state


class Board:
    """The board of the GPU that CUDA calls 0. The first question initialises NVML, `close` shuts it down.

    `unsupported` is what its saying NOT_SUPPORTED amounts to. `root` is the file system's, for tests.
    """

    def __init__(self, unsupported: Unavailable, root: Path) -> None:
        self._unsupported = unsupported
        self._root = root
        self._handle: Any = None

    def ask(self, question: Callable[[Any, Any], T]) -> T:
        """Return the answer of `question`, which is given pynvml and the handle; raises BoardError."""
        import pynvml

        try:
            if self._handle is None:
                self._handle = _open(pynvml, self._root)
            return question(pynvml, self._handle)
        except pynvml.NVMLError as error:
            raise BoardError(self._refusal(pynvml, error)) from error

    def name(self) -> str:
        """Return the product's name; raises BoardError."""
        return self.ask(lambda pynvml, handle: str(pynvml.nvmlDeviceGetName(handle)))

    def close(self) -> None:
        """Shut NVML down, as often as it was initialised here."""
        import pynvml

        if self._handle is None:
            return
        self._handle = None
        _shut_down(pynvml)

    def _refusal(self, pynvml: Any, error: Any) -> Unavailable:
        # A field that a driver does not know of yet is an invalid argument to it.
        if error.value in {pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_INVALID_ARGUMENT}:
            return self._unsupported
        named = (state for name, state in _REFUSALS.items() if getattr(pynvml, f"NVML_ERROR_{name}") == error.value)
        return next(named, Unavailable(f"NVML: error {error.value}", f"{error}: {_CHECK}"))


def proved(counter: Meter, board: Board, what: str, pause: Pause) -> Available | Unavailable:
    """Return what `available` returns for a counter that reads `board`, which is closed afterwards."""
    try:
        if advances(counter, pause):
            return Available(f"{board.name()}: {what}")
        return Unavailable("NVML: the energy stands still", _CHECK)
    except BoardError as error:
        return error.state
    finally:
        counter.close()


def _open(pynvml: Any, root: Path) -> Any:
    """Initialise NVML and return the board's handle; where it raises BoardError or NVMLError, NVML is shut down."""
    # On a Jetson NVML has a device as well, which then supports none of what is asked here.
    if is_tegra(root):
        raise BoardError(_JETSON)
    pynvml.nvmlInit()
    with contextlib.ExitStack() as opened:
        opened.callback(_shut_down, pynvml)
        handle = _first_whole(pynvml)
        opened.pop_all()
    return handle


def _shut_down(pynvml: Any) -> None:
    with contextlib.suppress(pynvml.NVMLError):  # a GPU that was lost is left behind in whatever state it is in
        pynvml.nvmlShutdown()


def _first_whole(pynvml: Any) -> Any:
    """Return the handle of the first visible board; raises BoardError where there is none, or only a part of one."""
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
    return handle


def _sliced(pynvml: Any, handle: Any) -> bool:
    """Return whether the handle is a MIG slice's, or its board is cut into slices: CUDA then works in the first one."""
    try:
        if pynvml.nvmlDeviceIsMigDeviceHandle(handle):
            return True
        current, _pending = pynvml.nvmlDeviceGetMigMode(handle)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return False  # a board, or a driver, from before there was MIG
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _absent() -> Unavailable:
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return Unavailable("NVML: no GPU", "the driver runs and finds none: see nvidia-smi -L")
    if first_name() in {"", "-1"}:
        return Unavailable("NVML: every GPU is hidden", f"CUDA_VISIBLE_DEVICES={listed!r} hides them: unset it")
    return Unavailable(
        "NVML: no such GPU", f"CUDA_VISIBLE_DEVICES={listed!r}: begin it with one that nvidia-smi -L lists"
    )
