"""The board's power as a counter, against a C library whose board has a known true power."""

import itertools
import threading

import pynvml
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdbench.meters.meter import METERS, Available, MeterError, Part, Rank, Unavailable
from kdbench.meters.nvml import NvmlMeanPower, NvmlPower

FIELDS = "nvmlDeviceGetFieldValues"
USAGE = "nvmlDeviceGetPowerUsage"
UNSUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED
INSTANT = pynvml.NVML_FI_DEV_POWER_INSTANT
AVERAGE = pynvml.NVML_FI_DEV_POWER_AVERAGE


@pytest.fixture(params=[NvmlPower, NvmlMeanPower])
def kind(request):
    return request.param


@pytest.fixture
def make(fake_nvml, tmp_path):
    """Make a source on the fake library's clock that reads when it is read, and by no thread."""
    return lambda kind: kind(fake_nvml.clock, fake_nvml.clock.sleep, root=tmp_path, background=False)


@pytest.fixture
def power(make):
    return make(NvmlPower)


@pytest.fixture
def mean(make):
    return make(NvmlMeanPower)


def counted(source, clock, seconds):
    """Read the source as often as it asks for; return (joules, begin and end in seconds) of what it counted."""
    begin_ns, begin_j = source.read()
    end_ns, end_j = begin_ns, begin_j
    for _ in range(round(seconds / source.poll_s)):
        clock.sleep(source.poll_s)
        end_ns, end_j = source.read()
    return end_j - begin_j, begin_ns / 1e9, end_ns / 1e9


def test_what_they_count():
    assert isinstance(METERS.get("nvml-power")(), NvmlPower)
    assert isinstance(METERS.get("nvml-mean-power")(), NvmlMeanPower)
    assert Rank.COUNTER < NvmlPower.rank == Rank.POWER < NvmlMeanPower.rank == Rank.MEAN_POWER
    for kind in (NvmlPower, NvmlMeanPower):
        assert (kind.scope, kind.covers, kind.stepped) == ("gpu0.board", {Part.GPU}, False)


def test_milliwatts_become_watts_once(kind, make, fake_nvml):
    fake_nvml.board.trace = [(0.0, 300.0)]
    assert make(kind).watts() == 300


def test_a_constant_power_is_counted_exactly(kind, make, fake_nvml):
    joules, begin_s, end_s = counted(make(kind), fake_nvml.clock, 10)
    assert end_s - begin_s == pytest.approx(10)
    assert joules == pytest.approx(100 * (end_s - begin_s))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    powers=st.lists(st.floats(0, 700), min_size=1, max_size=6),
    update_s=st.sampled_from([0.02, 0.1]),
    mean=st.booleans(),
)
def test_a_known_power_is_found_to_within_its_changes_times_the_lag(make, fake_nvml, powers, update_s, mean):
    board, clock = fake_nvml.board, fake_nvml.clock
    source = make(NvmlMeanPower if mean else NvmlPower)
    # It settles before the first reading, and changes once a second from then on.
    board.trace, board.update_s = [(0.0, powers[0]), *((6.0 + i, w) for i, w in enumerate(powers[1:]))], update_s
    clock.now_ns = 5_500_000_000
    joules, begin_s, end_s = counted(source, clock, 8)
    changes_w = sum(abs(after - before) for before, after in itertools.pairwise(powers))
    lag_s = (source.lag_s if mean else 0) + update_s + source.poll_s
    # What is told in milliwatts is cut off, up to one of them.
    assert joules == pytest.approx(board.energy_j(begin_s, end_s), abs=changes_w * lag_s + 8 * 0.001 + 1e-6)


def test_a_change_shows_in_full_after_the_lag(kind, make, fake_nvml):
    source = make(kind)
    fake_nvml.board.trace = [(0.0, 100.0), (6.0, 400.0)]
    fake_nvml.clock.now_ns = 6_000_000_000 + round(source.lag_s * 1e9)
    assert source.watts() == pytest.approx(400)


def test_the_mean_tells_of_a_change_half_a_second_ago_half(mean, fake_nvml):
    fake_nvml.board.trace = [(0.0, 100.0), (6.0, 400.0)]
    fake_nvml.clock.now_ns = 6_500_000_000
    assert mean.watts() == pytest.approx(250)


@pytest.mark.parametrize("value_type", range(pynvml.NVML_VALUE_TYPE_COUNT))
def test_every_type_that_a_field_may_have(kind, make, fake_nvml, value_type):
    fake_nvml.board.value_type = value_type
    fake_nvml.board.trace = [(0.0, 42.0)]  # in milliwatts an unsigned short holds no more than 65 W
    assert make(kind).watts() == 42


def test_a_type_that_is_not_known_is_no_power(kind, make, fake_nvml):
    fake_nvml.board.value_type = pynvml.NVML_VALUE_TYPE_COUNT
    state = make(kind).available()
    assert isinstance(state, Unavailable)
    assert state.reason == "NVML: implausible power"


@pytest.mark.parametrize("watts", [-5.0, float("nan"), float("inf")])
def test_a_power_that_cannot_be_is_not_added_up(power, fake_nvml, watts):
    fake_nvml.board.value_type = pynvml.NVML_VALUE_TYPE_DOUBLE
    power.read()
    fake_nvml.board.trace = [(0.0, watts)]
    fake_nvml.clock.sleep(1)
    with pytest.raises(MeterError, match="NVML: implausible power"):
        power.read()


@pytest.mark.parametrize("error", [UNSUPPORTED, pynvml.NVML_ERROR_INVALID_ARGUMENT])
def test_a_field_that_the_driver_does_not_know(power, fake_nvml, error):
    fake_nvml.board.field_errors[INSTANT] = error
    state = power.available()
    assert isinstance(state, Unavailable)
    assert state.reason == "NVML: no power reading"
    assert "535" in state.hint
    assert fake_nvml.inits == 0


def test_a_driver_from_before_fields(power, fake_nvml):
    fake_nvml.missing = {FIELDS}
    assert power.available().reason == "NVML: the driver is too old"


@pytest.mark.parametrize("error", [UNSUPPORTED, pynvml.NVML_ERROR_INVALID_ARGUMENT])
def test_the_mean_from_before_it_was_a_field(mean, fake_nvml, error):
    fake_nvml.board.field_errors[AVERAGE] = error
    assert isinstance(mean.available(), Available)
    assert mean.watts() == 100
    assert USAGE in fake_nvml.calls


def test_the_mean_from_before_there_were_fields(mean, fake_nvml):
    fake_nvml.missing = {FIELDS}
    assert mean.watts() == 100


def test_the_field_is_preferred_to_the_function(mean, fake_nvml):
    mean.watts()
    assert USAGE not in fake_nvml.calls


def test_a_field_that_fails_otherwise_is_an_error(mean, fake_nvml):
    fake_nvml.board.field_errors[AVERAGE] = pynvml.NVML_ERROR_GPU_IS_LOST
    with pytest.raises(MeterError, match="NVML: the GPU is lost"):
        mean.watts()


def test_a_board_that_tells_no_power_at_all(mean, fake_nvml):
    fake_nvml.board.errors = {FIELDS: UNSUPPORTED, USAGE: UNSUPPORTED}
    assert mean.available().reason == "NVML: no power reading"


def test_no_power_at_all_is_no_meter(kind, make, fake_nvml):
    fake_nvml.board.trace = [(0.0, 0.0)]
    assert make(kind).available().reason == "NVML: energy does not advance"


def test_the_whole_module_is_not_asked_for(kind, make, fake_nvml, monkeypatch):
    """With Grace, scope 1 is GPU and CPU together; the fake supports scope 0 alone."""
    requested = []
    true = pynvml.nvmlDeviceGetFieldValues
    monkeypatch.setattr(pynvml, FIELDS, lambda handle, fields: requested.extend(fields) or true(handle, fields))
    make(kind).watts()
    assert [scope for _, scope in requested] == [0]


def test_no_device_is_a_refusal_and_not_0_joules(kind, make, fake_nvml):
    fake_nvml.boards.clear()
    source = make(kind)
    assert source.available().reason == "NVML: no GPU"
    with pytest.raises(MeterError, match="NVML: no GPU"):
        source.read()


def test_a_machine_without_the_drivers_library(kind, no_nvml, tmp_path):
    state = kind(root=tmp_path).available()
    assert state.reason == "NVML: no NVIDIA driver"
    assert state.expected


def test_a_jetson(kind, make, fake_nvml, tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").touch()
    state = make(kind).available()
    assert not state.expected
    assert fake_nvml.calls == []


def test_available_names_the_board_and_leaves_nothing_running(kind, make, fake_nvml):
    state = make(kind).available()
    assert isinstance(state, Available)
    assert state.detail.startswith("NVIDIA H100: ")
    assert fake_nvml.inits == 0


def test_a_gpu_that_is_lost_on_the_way(kind, make, fake_nvml):
    source = make(kind)
    source.read()
    fake_nvml.board.lost_at_s = fake_nvml.clock() / 1e9 + 1
    fake_nvml.clock.sleep(2)
    with pytest.raises(MeterError, match="NVML: the GPU is lost"):
        source.read()
    source.close()
    assert fake_nvml.inits == 0


def pollers():
    return [thread for thread in threading.enumerate() if thread.name == "kdbench-power"]


def test_the_thread_ends_before_nvml_does(kind, fake_nvml, tmp_path, monkeypatch):
    left = []
    shut_down = pynvml.nvmlShutdown
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: left.append(pollers()) or shut_down())
    source = kind(root=tmp_path)  # with a thread, on the machine's own clock
    source.read()
    assert len(pollers()) == 1
    source.close()
    assert left == [[]]
    assert fake_nvml.inits == 0
    source.read()  # and it starts anew
    assert fake_nvml.inits == 1
    source.close()


def test_a_thread_of_its_own_proves_it_as_well(kind, fake_nvml, tmp_path):
    assert isinstance(kind(root=tmp_path).available(), Available)
    assert pollers() == []
    assert fake_nvml.inits == 0
