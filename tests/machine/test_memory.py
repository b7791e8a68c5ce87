"""Memory: resident and available, from files as Linux writes them, and on a GPU without a GPU."""

import mmap
import os
import sys
from types import SimpleNamespace

import psutil
import pynvml
import pytest

from kdbench.machine import memory
from kdbench.machine.memory import DeviceMemory, MemoryUnknownError, available_bytes

GB = 1 << 30
MB = 1 << 20
STATUS = "Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t     300 kB\nVmRSS:\t     200 kB\n"


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "status").write_text(STATUS)
    return tmp_path


def test_present_and_high_water_mark(proc):
    assert memory.resident_bytes(proc) == 200 * 1024
    assert memory.high_water(was_reset=True, proc=proc) == (300 * 1024, "counting began")


def test_a_mark_that_lags_is_not_below_the_present(proc):
    (proc / "status").write_text(STATUS.replace("300", "100"))
    assert memory.high_water(was_reset=True, proc=proc)[0] == 200 * 1024


def test_a_mark_that_cannot_be_set_back_is_of_the_whole_process(tmp_path, proc):
    assert memory.reset_high_water(proc)
    assert (proc / "clear_refs").read_text() == "5"
    assert not memory.reset_high_water(tmp_path / "nowhere")
    assert memory.high_water(was_reset=False, proc=proc)[1] == "it started"


def test_a_status_without_the_field(proc):
    (proc / "status").write_text("Name:\tpython\n")
    with pytest.raises(MemoryUnknownError, match="VmRSS"):
        memory.resident_bytes(proc)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can set the mark back")
def test_memory_that_was_given_back_is_in_the_mark_until_it_is_set_back():
    size = 64 << 20
    before = memory.resident_bytes()
    with mmap.mmap(-1, size) as block:  # an allocator may keep what Python gives back
        for page in range(0, size, mmap.PAGESIZE):
            block[page] = 1
    peak, _ = memory.high_water(was_reset=False)
    assert peak >= before + size * 0.9
    if not memory.reset_high_water():
        pytest.skip("this container keeps /proc/self/clear_refs closed")
    assert memory.high_water(was_reset=True)[0] < peak - size * 0.5


@pytest.fixture
def machine(tmp_path):
    """Write a machine with 8 GB left; its keywords are further files."""

    def write(files):
        files = {"proc/meminfo": f"MemTotal: 99 kB\nMemAvailable:   {8 * GB // 1024} kB\n", **files}
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_without_a_container_it_is_what_the_kernel_says(machine):
    assert available_bytes(machine({})) == 8 * GB


def test_a_groups_limit_counts_where_it_is_tighter(machine):
    root = machine(
        {
            "proc/self/cgroup": "0::/job\n",
            "sys/fs/cgroup/job/memory.max": f"{3 * GB}\n",
            "sys/fs/cgroup/job/memory.current": f"{2 * GB}\n",
        }
    )
    assert available_bytes(root) == GB


def test_page_cache_that_can_be_given_back_is_not_used_up(machine):
    root = machine(
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": f"{3 * GB}\n",
            "sys/fs/cgroup/memory.current": f"{3 * GB}\n",
            "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {2 * GB}\nactive_file 7\n",
        }
    )
    assert available_bytes(root) == 2 * GB


def test_a_parents_limit_counts_for_its_children(machine):
    root = machine(
        {
            "proc/self/cgroup": "0::/pod/container\n",
            "sys/fs/cgroup/pod/container/memory.max": "max\n",
            "sys/fs/cgroup/pod/container/memory.current": f"{GB}\n",
            "sys/fs/cgroup/pod/memory.max": f"{4 * GB}\n",
            "sys/fs/cgroup/pod/memory.current": f"{3 * GB}\n",
        }
    )
    assert available_bytes(root) == GB


def test_the_first_version_of_groups(machine):
    folder = "sys/fs/cgroup/memory/docker/1b81"
    root = machine(
        {
            "proc/self/cgroup": "9:name=systemd:/\n4:memory:/docker/1b81\n3:cpuset:/\n",
            f"{folder}/memory.limit_in_bytes": f"{2 * GB}\n",
            f"{folder}/memory.usage_in_bytes": f"{GB}\n",
            f"{folder}/memory.stat": f"inactive_file 1\ntotal_inactive_file {GB // 2}\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{6 * GB}\n",
        }
    )
    assert available_bytes(root) == GB + GB // 2


def test_where_a_group_is_slowed_down_its_memory_ends(machine):
    root = machine(
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": "max\n",
            "sys/fs/cgroup/memory.high": f"{3 * GB}\n",
            "sys/fs/cgroup/memory.current": f"{GB}\n",
        }
    )
    assert available_bytes(root) == 2 * GB


def test_a_group_above_its_limit_leaves_nothing(machine):
    root = machine(
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "10\n", "sys/fs/cgroup/memory.current": "11\n"}
    )
    assert available_bytes(root) == 0


def test_elsewhere_psutil_knows(tmp_path):
    assert 0 < available_bytes(tmp_path) <= psutil.virtual_memory().total


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
    assert device.usage() == (200 * MB, "NVML, of this process")


@pytest.mark.parametrize("listed", [[], [process(1, 5)], [process(os.getpid(), None)]])
def test_the_boards_growth_where_this_process_is_not_listed(driver, listed):
    device = DeviceMemory()
    driver.used += 300 * MB
    driver.processes = listed
    used, source = device.usage()
    assert used == 300 * MB
    assert "growth of the board's used memory" in source


def test_a_board_that_others_left_has_not_grown(driver):
    device = DeviceMemory()
    driver.used -= 100 * MB
    assert device.usage()[0] == 0


@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetMemoryInfo"])
def test_what_the_driver_refuses_is_a_reason(driver, monkeypatch, call):
    def refuse(*_):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, call, refuse)
    with pytest.raises(MemoryUnknownError, match="NVML: NVML Shared Library Not Found"):
        DeviceMemory()


@pytest.mark.parametrize("visible", ["", "-1"])
def test_a_gpu_that_is_hidden_is_not_looked_at(driver, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(MemoryUnknownError, match="NVML: Not Found"):
        DeviceMemory()


def test_a_driver_that_falls_silent_later(driver, monkeypatch):
    device = DeviceMemory()

    def lost(_board):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", lost)
    with pytest.raises(MemoryUnknownError, match="lost"):
        device.usage()
