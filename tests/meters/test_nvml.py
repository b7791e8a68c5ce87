"""The board's energy counter, against a C library whose board has a known true energy."""

import itertools
from importlib.metadata import packages_distributions

import pynvml
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdbench.meters.meter import METERS, Available, MeterError, Part, Rank, Unavailable
from kdbench.meters.nvml import Nvml

ENERGY = "nvmlDeviceGetTotalEnergyConsumption"


@pytest.fixture
def nvml(fake_nvml, tmp_path):
    """The source on the fake library's clock, on a machine that is no Jetson."""
    return Nvml(fake_nvml.clock, fake_nvml.clock.sleep, root=tmp_path)


def refused(source):
    state = source.available()
    assert isinstance(state, Unavailable)
    assert state.reason.startswith("NVML: ")
    assert len(state.reason) <= 32  # what fits into a table's cell
    assert state.hint
    return state


def test_what_it_counts():
    assert isinstance(METERS.get("nvml")(), Nvml)
    assert (Nvml.rank, Nvml.scope, Nvml.covers) == (Rank.COUNTER, "gpu0.board", {Part.GPU})
    assert Nvml.stepped
    assert Nvml.lag_s == 0


def test_millijoules_become_joules_once(nvml, fake_nvml):
    fake_nvml.board.trace = [(0.0, 250.0)]
    fake_nvml.clock.now_ns = 8_000_000_000
    assert nvml.read() == (8_000_000_000, 2000.0)
    fake_nvml.clock.sleep(10)
    assert nvml.read() == (18_000_000_000, 4500.0)


def test_the_counter_moves_in_steps(nvml, fake_nvml):
    fake_nvml.clock.now_ns = 5_010_000_000
    readings = []
    for _ in range(20):
        readings.append(nvml.read()[1])
        fake_nvml.clock.sleep(0.01)
    assert [round(after - before) for before, after in itertools.pairwise(readings)] == [0] * 8 + [10] + [0] * 9 + [10]


def test_a_reading_is_as_of_the_middle_of_the_drivers_answer(nvml, fake_nvml):
    nvml.read()
    fake_nvml.board.answer_s = 0.006
    begin_ns = fake_nvml.clock()
    assert nvml.read()[0] == begin_ns + 3_000_000


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    powers=st.lists(st.floats(0, 700), min_size=1, max_size=8),
    update_s=st.sampled_from([0.02, 0.1, 0.25]),
    begin_s=st.floats(5, 9),
    length_s=st.floats(0.5, 60),
)
def test_a_known_power_is_found_to_within_a_step_at_each_end(nvml, fake_nvml, powers, update_s, begin_s, length_s):
    board, clock = fake_nvml.board, fake_nvml.clock
    board.trace, board.update_s = [(2.5 * i, watts) for i, watts in enumerate(powers)], update_s
    nvml.close()
    clock.now_ns = round(begin_s * 1e9)
    begin_ns, begin_j = nvml.read()
    clock.sleep(length_s)
    end_ns, end_j = nvml.read()
    truth_j = board.energy_j(begin_ns / 1e9, end_ns / 1e9)
    assert end_j - begin_j == pytest.approx(truth_j, abs=max(powers) * update_s + 0.002)


def test_available_names_the_board_and_leaves_nothing_running(nvml, fake_nvml):
    assert nvml.available() == Available("NVIDIA H100: energy counter of the whole board")
    assert fake_nvml.inits == 0


def test_a_closed_source_starts_anew_when_read(nvml, fake_nvml):
    nvml.read()
    assert fake_nvml.inits == 1
    nvml.close()
    nvml.close()
    assert fake_nvml.inits == 0
    # Without a client the driver may have been unloaded meanwhile: a smaller count is no fault then.
    fake_nvml.board.reset_at_s = fake_nvml.clock() / 1e9
    nvml.read()
    assert fake_nvml.inits == 1


def test_what_others_started_stays(nvml, fake_nvml):
    pynvml.nvmlInit()
    nvml.available()
    assert fake_nvml.inits == 1


def test_a_counter_that_stands_still(nvml, fake_nvml):
    fake_nvml.board.trace = [(0.0, 0.0)]
    assert refused(nvml).reason == "NVML: energy does not advance"
    assert fake_nvml.inits == 0


@pytest.mark.parametrize(
    ("error", "reason", "hint"),
    [
        (pynvml.NVML_ERROR_NOT_SUPPORTED, "NVML: no energy counter", "Volta"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "NVML: permission denied", "/dev/nvidia"),
        (pynvml.NVML_ERROR_GPU_IS_LOST, "NVML: the GPU is lost", "restart"),
        (pynvml.NVML_ERROR_RESET_REQUIRED, "NVML: the GPU needs a reset", "--gpu-reset"),
        (pynvml.NVML_ERROR_UNKNOWN, "NVML: error 999", "nvidia-smi"),
    ],
)
def test_each_refusal_has_a_reason_and_a_remedy(nvml, fake_nvml, error, reason, hint):
    fake_nvml.board.errors[ENERGY] = error
    state = refused(nvml)
    assert state.reason == reason
    assert state.expected
    assert hint in state.hint
    assert fake_nvml.inits == 0


@pytest.mark.parametrize("function", ["nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetMigMode", "nvmlDeviceGetName"])
def test_a_refusal_on_the_way_to_the_counter(nvml, fake_nvml, function):
    fake_nvml.board.mig_mode = pynvml.NVML_DEVICE_MIG_DISABLE
    fake_nvml.board.errors[function] = pynvml.NVML_ERROR_NO_PERMISSION
    assert refused(nvml).reason == "NVML: permission denied"
    assert fake_nvml.inits == 0


def test_a_driver_from_before_the_counter(nvml, fake_nvml):
    fake_nvml.missing = {ENERGY}
    assert refused(nvml).reason == "NVML: the driver is too old"


def test_a_driver_from_before_mig(nvml, fake_nvml):
    fake_nvml.missing = {"nvmlDeviceIsMigDeviceHandle", "nvmlDeviceGetMigMode"}
    assert isinstance(nvml.available(), Available)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "NVML: no NVIDIA driver"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "NVML: driver and library differ"),
        (pynvml.NVML_ERROR_OPERATING_SYSTEM, "NVML: blocked by the system"),
    ],
)
def test_a_driver_that_does_not_start(nvml, fake_nvml, error, reason):
    fake_nvml.init_error = error
    state = refused(nvml)
    assert state.reason == reason
    assert state.expected
    with pytest.raises(MeterError, match=reason):
        nvml.read()
    assert "nvmlShutdown" not in fake_nvml.calls  # what did not start is not shut down


def test_a_machine_without_the_drivers_library(no_nvml, tmp_path):
    state = refused(Nvml(root=tmp_path))
    assert state.reason == "NVML: no NVIDIA driver"
    assert state.expected


def test_no_device_is_a_refusal_and_not_0_joules(nvml, fake_nvml):
    fake_nvml.boards.clear()
    assert refused(nvml).reason == "NVML: no GPU"
    with pytest.raises(MeterError, match="NVML: no GPU"):
        nvml.read()
    assert fake_nvml.inits == 0


@pytest.mark.parametrize(
    ("visible", "device"),
    [
        ("0", 0),
        ("1", 1),
        (" 1 ,0", 1),
        ("1,-1", 1),
        ("GPU-00000001-d72c-4106-c12f-20bd9faed9f6", 1),
        ("GPU-00000001", 1),  # CUDA takes as much of it as names one board
    ],
)
def test_the_device_is_the_one_that_cuda_calls_0(nvml, fake_nvml, monkeypatch, visible, device):
    fake_nvml.add().trace = [(0.0, 200.0)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert nvml.read()[1] == [500, 1000][device]


@pytest.mark.parametrize("visible", ["", " ", "-1", "-1,0", ",0"])
def test_cuda_sees_no_device_at_all(nvml, fake_nvml, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    state = refused(nvml)
    assert state.reason == "NVML: every GPU is hidden"
    assert repr(visible) in state.hint
    assert fake_nvml.inits == 0


@pytest.mark.parametrize(
    "visible", ["7", "2,0", "GPU-00000009-d72c-4106-c12f-20bd9faed9f6", "GPU-9", "GPU-0000000", "NoDevFiles", "²"]
)
def test_cuda_is_told_of_a_device_that_is_not_there(nvml, fake_nvml, monkeypatch, visible):
    fake_nvml.add()  # of two boards, GPU-0000000 could be either
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    state = refused(nvml)
    assert state.reason == "NVML: no such GPU"
    assert visible in state.hint
    assert fake_nvml.inits == 0


def test_boards_of_two_kinds_that_cuda_may_number_otherwise(nvml, fake_nvml, monkeypatch):
    fake_nvml.add("NVIDIA T400")
    state = refused(nvml)
    assert state.reason == "NVML: ambiguous GPU"
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in state.hint
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert isinstance(nvml.available(), Available)
    monkeypatch.delenv("CUDA_DEVICE_ORDER")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", fake_nvml.boards[1].uuid)
    assert isinstance(nvml.available(), Available)


def test_a_second_board_that_is_lost_is_no_matter(nvml, fake_nvml):
    fake_nvml.add("NVIDIA T400").lost_at_s = 0
    assert isinstance(nvml.available(), Available)


def test_a_slice_of_a_board_has_no_energy_of_its_own(nvml, fake_nvml, monkeypatch):
    fake_nvml.board.is_slice = True
    assert refused(nvml).reason == "NVML: a MIG slice has no meter"
    fake_nvml.board.is_slice = False
    fake_nvml.board.mig_mode = pynvml.NVML_DEVICE_MIG_ENABLE
    assert refused(nvml).reason == "NVML: a MIG slice has no meter"
    fake_nvml.board.mig_mode = pynvml.NVML_DEVICE_MIG_DISABLE
    assert isinstance(nvml.available(), Available)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-" + fake_nvml.board.uuid.removeprefix("GPU-"))
    assert refused(nvml).reason == "NVML: a MIG slice has no meter"
    assert fake_nvml.inits == 0


@pytest.mark.parametrize("on_the_way_s", [0.0, 0.05, 1.0])
def test_a_gpu_that_is_lost_on_the_way(nvml, fake_nvml, on_the_way_s):
    nvml.read()
    fake_nvml.board.lost_at_s = fake_nvml.clock() / 1e9 + on_the_way_s
    fake_nvml.clock.sleep(on_the_way_s)
    with pytest.raises(MeterError, match="NVML: the GPU is lost"):
        nvml.read()
    nvml.close()
    assert fake_nvml.inits == 0


def test_a_counter_that_begins_anew_is_an_error_and_no_negative_energy(nvml, fake_nvml):
    nvml.read()
    fake_nvml.board.reset_at_s = fake_nvml.clock() / 1e9 + 1
    fake_nvml.clock.sleep(2)
    with pytest.raises(MeterError, match="NVML: the counter went back"):
        nvml.read()


def test_a_driver_that_cannot_even_be_shut_down(nvml, fake_nvml, monkeypatch):
    nvml.read()
    monkeypatch.setattr(type(fake_nvml), "_EXPORTS", {"nvmlShutdown": lambda _: pynvml.NVML_ERROR_UNKNOWN})
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    nvml.close()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("etc/nv_tegra_release", b"# R36 (release), REVISION: 4.3"),
        ("proc/device-tree/compatible", b"nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0"),
    ],
)
def test_a_jetson_is_known_before_nvml_is_asked(nvml, fake_nvml, tmp_path, file, content):
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_bytes(content)
    state = refused(nvml)
    assert not state.expected
    assert "Jetson" in state.reason
    assert fake_nvml.calls == []


def test_another_board_with_a_device_tree_is_no_jetson(nvml, tmp_path):
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/compatible").write_bytes(b"raspberrypi,5-model-b\0brcm,bcm2712\0")
    assert isinstance(nvml.available(), Available)


def test_the_bindings_are_nvidias_own():
    """The distribution that is called pynvml is deprecated, and its module of that name has other functions."""
    assert packages_distributions()["pynvml"] == ["nvidia-ml-py"]
