"""Device memory without a GPU: the driver's answers are put in place of `pynvml`'s calls."""

import os
from types import SimpleNamespace

import pynvml
import pytest

from kdbench.machine.device_memory import DeviceMemory, UnknownError

MB = 1 << 20


class Driver:
    """A board with what is used on it, and the processes it lists."""

    def __init__(self):
        self.used = 500 * MB
        self.processes = []

    def memory(self, board):
        assert board == "board"
        return SimpleNamespace(used=self.used)

    def listed(self, board):
        assert board == "board"
        return self.processes


@pytest.fixture
def driver(monkeypatch):
    driver = Driver()
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda _index: "board")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", driver.memory)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", driver.listed)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return driver


def process(pid, used):
    return SimpleNamespace(pid=pid, usedGpuMemory=used)


def test_what_the_driver_lists_of_this_process(driver):
    device = DeviceMemory()
    driver.used += 900 * MB
    driver.processes = [process(1, 700 * MB), process(os.getpid(), 200 * MB)]
    assert device.taken() == (200 * MB, "NVML, of this process")


@pytest.mark.parametrize("listed", [[], [process(1, 5)], [process(os.getpid(), None)]])
def test_the_boards_growth_where_this_process_is_not_listed(driver, listed):
    device = DeviceMemory()
    driver.used += 300 * MB
    driver.processes = listed
    taken, source = device.taken()
    assert taken == 300 * MB
    assert "growth of the board's used memory" in source


def test_a_board_that_others_left_has_not_grown(driver):
    device = DeviceMemory()
    driver.used -= 100 * MB
    assert device.taken()[0] == 0


@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetMemoryInfo"])
def test_what_the_driver_refuses_is_a_reason(driver, monkeypatch, call):
    def refuse(*_):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, call, refuse)
    with pytest.raises(UnknownError, match="NVML: NVML Shared Library Not Found"):
        DeviceMemory()


@pytest.mark.parametrize("visible", ["", "-1"])
def test_a_gpu_that_is_hidden_is_not_looked_at(driver, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(UnknownError, match="NVML: Not Found"):
        DeviceMemory()


def test_a_driver_that_falls_silent_later(driver, monkeypatch):
    device = DeviceMemory()

    def lost(_board):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", lost)
    with pytest.raises(UnknownError, match="lost"):
        device.taken()
