"""NVML's C library as pynvml loads it, replaced in this process."""

import ctypes
from typing import ClassVar

import pynvml

_POWER_AVERAGE, _POWER_INSTANT = 185, 186


_UNION = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}


class Clock:
    """Nanoseconds that pass when somebody sleeps, and while a driver answers."""

    def __init__(self):
        self.now_ns = 5_000_000_000

    def __call__(self):
        return self.now_ns

    def sleep(self, seconds):
        self.now_ns += round(seconds * 1e9)


class FakeBoard:
    """A board with a known true energy, which reports it as coarsely as a real one.

    `trace` is the truth: (from second, watts), until the next entry. Counter and power are renewed every `update_s`;
    the mean is over the second before. `errors` are codes by C function, `field_errors` by field, `lost_at_s` is when
    the board falls off the bus, `reset_at_s` when its driver is loaded anew.
    """

    def __init__(self, clock, name, uuid):
        self._clock = clock
        self.name, self.uuid = name, uuid
        self.trace = [(0.0, 100.0)]
        self.update_s = 0.1
        self.errors, self.field_errors = {}, {}
        self.value_type = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
        self.answer_s = 0.0  # how long the driver takes
        self.lost_at_s = self.reset_at_s = None
        self.is_slice, self.mig_mode = False, None

    @property
    def now_s(self):
        return self._clock() / 1e9

    @property
    def updated_s(self):
        """When counter and power were last renewed."""
        return self._clock() // round(self.update_s * 1e9) * self.update_s

    def energy_j(self, begin_s, end_s):
        """The true energy between two moments."""
        ends = [start for start, _ in self.trace[1:]] + [float("inf")]
        spans = ((start, end, watts) for (start, watts), end in zip(self.trace, ends, strict=True))
        return sum(watts * max(0.0, min(end, end_s) - max(start, begin_s)) for start, end, watts in spans)

    def counter_mj(self):
        loaded_s = self.reset_at_s if self.reset_at_s is not None and self.now_s >= self.reset_at_s else 0.0
        return int(self.energy_j(loaded_s, self.updated_s) * 1e3)

    def power_mw(self):
        return next(watts for start, watts in reversed(self.trace) if start <= self.updated_s) * 1e3

    def mean_power_mw(self):
        return self.energy_j(self.updated_s - 1, self.updated_s) * 1e3

    def refusal(self, function):
        """The code that this board answers the function with."""
        if self.lost_at_s is not None and self.now_s >= self.lost_at_s:
            return pynvml.NVML_ERROR_GPU_IS_LOST
        return self.errors.get(function, pynvml.NVML_SUCCESS)


class FakeNvml:
    """The C library: the functions that kdbench calls through pynvml, with C's arguments and return codes.

    `inits` counts what is not shut down yet, `init_error` is what starting answers, `missing` are the functions that
    an old driver does not export, `calls` the functions that were called, in turn.
    """

    def __init__(self, clock):
        self.clock = clock
        self.boards = []
        self.inits = 0
        self.init_error = pynvml.NVML_SUCCESS
        self.missing = set()
        self.calls = []
        self.board = self.add()

    def add(self, name="NVIDIA H100", uuid=None):
        """Plug in one more board."""
        number = len(self.boards)
        uuid = uuid or f"GPU-{number:08x}-d72c-4106-c12f-20bd9faed9f6"
        self.boards.append(FakeBoard(self.clock, name, uuid))
        return self.boards[-1]

    def __getattr__(self, name):
        """Return the C function `name`; what there is none of is an AttributeError, as with ctypes."""
        if name in self.missing or name not in self._EXPORTS:
            raise AttributeError(name)

        def function(*arguments):  # a function, and no method: pynvml sets the type of what it returns
            self.calls.append(name)
            if self.inits == 0 and name not in {"nvmlInitWithFlags", "nvmlErrorString"}:
                return pynvml.NVML_ERROR_UNINITIALIZED
            return self._EXPORTS[name](self, *arguments)

        return function

    def _init(self, _flags):
        self.inits += self.init_error == pynvml.NVML_SUCCESS
        return self.init_error

    def _shutdown(self):
        self.inits -= 1
        return pynvml.NVML_SUCCESS

    def _error_string(self, code):
        return f"error {code}".encode()

    def _driver_version(self, text, _size):
        text.value = b"580.65.06"
        return pynvml.NVML_SUCCESS

    def _count(self, count):
        count._obj.value = len(self.boards)
        return pynvml.NVML_SUCCESS

    def _handle_by_index(self, index, handle):
        if index.value >= len(self.boards):
            return pynvml.NVML_ERROR_INVALID_ARGUMENT
        return self._give(self.boards[index.value], "nvmlDeviceGetHandleByIndex_v2", handle)

    def _handle_by_uuid(self, uuid, handle):
        for board in self.boards:
            if board.uuid.encode() == uuid.value:
                return self._give(board, "nvmlDeviceGetHandleByUUID", handle)
        return pynvml.NVML_ERROR_NOT_FOUND

    def _give(self, board, function, handle):
        # A handle is an opaque pointer; this one is never dereferenced.
        ctypes.cast(handle, ctypes.POINTER(ctypes.c_void_p))[0] = self.boards.index(board) + 1
        return board.refusal(function)

    def _of(self, handle):
        return self.boards[ctypes.cast(handle, ctypes.c_void_p).value - 1]

    def _tell(self, handle, function, target, value):
        board = self._of(handle)
        self.clock.sleep(board.answer_s / 2)
        code = board.refusal(function)
        if code == pynvml.NVML_SUCCESS:
            target.value = value(board)
        self.clock.sleep(board.answer_s / 2)
        return code

    def _name(self, handle, text, _size):
        return self._tell(handle, "nvmlDeviceGetName", text, lambda board: board.name.encode())

    def _uuid(self, handle, text, _size):
        return self._tell(handle, "nvmlDeviceGetUUID", text, lambda board: board.uuid.encode())

    def _is_mig_handle(self, handle, answer):
        return self._tell(handle, "nvmlDeviceIsMigDeviceHandle", answer._obj, lambda board: board.is_slice)

    def _mig_mode(self, handle, current, pending):
        if self._of(handle).mig_mode is None:
            return pynvml.NVML_ERROR_NOT_SUPPORTED
        pending._obj.value = self._of(handle).mig_mode
        return self._tell(handle, "nvmlDeviceGetMigMode", current._obj, lambda board: board.mig_mode)

    def _total_energy_consumption(self, handle, energy):
        return self._tell(handle, "nvmlDeviceGetTotalEnergyConsumption", energy._obj, FakeBoard.counter_mj)

    def _power_usage(self, handle, power):
        return self._tell(handle, "nvmlDeviceGetPowerUsage", power._obj, lambda board: int(board.mean_power_mw()))

    def _field_values(self, handle, count, values):
        board = self._of(handle)
        self.clock.sleep(board.answer_s)
        if (code := board.refusal("nvmlDeviceGetFieldValues")) != pynvml.NVML_SUCCESS:
            return code
        meters = {_POWER_AVERAGE: board.mean_power_mw, _POWER_INSTANT: board.power_mw}
        for value in values._obj[: count.value]:
            known = value.fieldId in meters and value.scopeId == 0
            value.nvmlReturn = board.field_errors.get(
                value.fieldId, pynvml.NVML_SUCCESS if known else pynvml.NVML_ERROR_INVALID_ARGUMENT
            )
            value.valueType = board.value_type
            # What a refused field holds is undefined, and must not be taken for a value.
            ctypes.memset(ctypes.byref(value.value), 0xA5, ctypes.sizeof(value.value))
            if value.nvmlReturn == pynvml.NVML_SUCCESS and board.value_type in _UNION:
                milliwatts = meters[value.fieldId]()
                member = _UNION[board.value_type]
                setattr(value.value, member, milliwatts if member == "dVal" else int(milliwatts))
        return pynvml.NVML_SUCCESS

    _EXPORTS: ClassVar = {
        "nvmlInitWithFlags": _init,
        "nvmlShutdown": _shutdown,
        "nvmlErrorString": _error_string,
        "nvmlSystemGetDriverVersion": _driver_version,
        "nvmlDeviceGetCount_v2": _count,
        "nvmlDeviceGetHandleByIndex_v2": _handle_by_index,
        "nvmlDeviceGetHandleByUUID": _handle_by_uuid,
        "nvmlDeviceGetName": _name,
        "nvmlDeviceGetUUID": _uuid,
        "nvmlDeviceIsMigDeviceHandle": _is_mig_handle,
        "nvmlDeviceGetMigMode": _mig_mode,
        "nvmlDeviceGetTotalEnergyConsumption": _total_energy_consumption,
        "nvmlDeviceGetPowerUsage": _power_usage,
        "nvmlDeviceGetFieldValues": _field_values,
    }
