"""NVML without a GPU: the driver's answers are put in place of `pynvml`'s calls."""

import pynvml
import pytest

from kdbench.measure.energy.nvml import Nvml
from kdbench.measure.energy.source import Available, Unavailable


class Driver:
    """A driver that knows one board by index and one by its UUID, and counts in millijoules."""

    def __init__(self):
        self.millijoules = 1_000_000
        self.asked = []

    def init(self):
        """Answer."""

    def by_index(self, index):
        self.asked.append(index)
        return "board"

    by_uuid = by_index

    def energy(self, handle):
        assert handle == "board"
        return self.millijoules


@pytest.fixture
def driver(monkeypatch):
    driver = Driver()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(pynvml, "nvmlInit", driver.init)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", driver.by_index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", driver.by_uuid)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", driver.energy)
    return driver


@pytest.fixture
def nvml():
    return Nvml(clock=lambda: 7, pause=lambda seconds: None)


def test_joules(driver, nvml):
    assert nvml.read() == (7, 1000.0)
    driver.millijoules += 2500
    assert nvml.read() == (7, 1002.5)


def test_available_is_a_counter_that_moved(driver):
    def work(_seconds):
        driver.millijoules += 100

    assert isinstance(Nvml(clock=lambda: 7, pause=work).available(), Available)


def test_a_counter_that_stands_still(driver, nvml):
    state = nvml.available()
    assert isinstance(state, Unavailable)
    assert "stands still" in state.reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (pynvml.NVML_ERROR_NOT_SUPPORTED, "no total energy counter"),
        (pynvml.NVML_ERROR_GPU_IS_LOST, "lost"),
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "no NVIDIA driver"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "no NVIDIA driver"),
    ],
)
def test_what_the_driver_refuses_is_a_reason(driver, nvml, monkeypatch, error, reason):
    def refuse(_handle):
        raise pynvml.NVMLError(error)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", refuse)
    state = nvml.available()
    assert isinstance(state, Unavailable)
    assert reason in state.reason


@pytest.mark.parametrize(("visible", "device"), [("", 0), ("2,0", 2), ("GPU-abc", "GPU-abc")])
def test_the_device_is_the_one_cuda_calls_first(driver, nvml, monkeypatch, visible, device):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    nvml.read()
    assert driver.asked == [device]
