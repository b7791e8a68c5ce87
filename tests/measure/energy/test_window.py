"""A machine of known power, with a counter that moves in steps: the windows must find the power again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench.measure.energy.window import StalledError, update_period_ns, window, window_ns

MS = 1_000_000


class Machine:
    """A clock in ns, a power in watts, and a counter that shows the energy as of its last update."""

    name = "fake"

    def __init__(self, power_w=50.0, period_ns=MS, read_ns=5_000, phase_ns=0):
        self.power_w, self.period_ns, self.read_ns = power_w, period_ns, read_ns
        self.now = phase_ns

    def clock(self):
        return self.now

    def read(self):
        self.now += self.read_ns
        updated = self.now // self.period_ns * self.period_ns
        return self.now, updated * self.power_w / 1e9

    def call(self, duration_ns):
        def run():
            self.now += duration_ns

        return run


def per_call(machine, duration_ns, length_ns):
    taken = window(machine, machine.call(duration_ns), length_ns, machine.clock)
    return taken.energy_j / taken.calls, taken


@pytest.mark.parametrize("period_ms", [1, 20, 100])
def test_the_update_period_is_found(period_ms):
    machine = Machine(period_ns=period_ms * MS, phase_ns=12_345)
    assert update_period_ns(machine) == pytest.approx(period_ms * MS, rel=0.02)


def test_a_window_is_long_enough_for_its_counter():
    assert window_ns(MS) == 1000 * MS
    assert window_ns(100 * MS) == 2000 * MS


@settings(max_examples=60, deadline=None)
@given(
    power=st.floats(1, 400),
    call_us=st.floats(20, 300_000),
    period_ms=st.sampled_from([1, 10, 100]),
    phase=st.integers(0, 100 * MS),
)
def test_energy_of_a_call_is_recovered(power, call_us, period_ms, phase):
    machine = Machine(power, period_ms * MS, phase_ns=phase)
    length = window_ns(period_ms * MS)
    found, taken = per_call(machine, int(call_us * 1000), length)
    # Off by less than a period at one end and a read for each call that waits for an edge.
    resolution = (period_ms * MS + int(call_us * 1000)) / taken.duration_ns
    assert found == pytest.approx(power * call_us / 1e6, rel=resolution + 0.02)
    assert taken.duration_ns >= length


def test_edges_beat_naive_reads():
    """A counter stale by up to 100 ms: over 1 s, reading without regard to edges is off by up to 10 %."""
    errors = []
    for phase in range(0, 100, 7):
        machine = Machine(50.0, 100 * MS, phase_ns=phase * MS)
        found, _ = per_call(machine, MS, 1000 * MS)
        errors.append(abs(found / 0.05 - 1))
    assert max(errors) < 0.012


def test_the_counter_rests_while_the_window_runs():
    machine = Machine(read_ns=0)
    reads = []
    inner = machine.read
    machine.read = lambda: reads.append(machine.now) or inner()
    window(machine, machine.call(10_000), 1000 * MS, machine.clock)
    assert len(reads) < 250  # of 100 000 calls


def test_a_counter_that_stops_is_an_error_not_a_zero():
    machine = Machine(power_w=0.0)
    with pytest.raises(StalledError, match="not moved"):
        window(machine, machine.call(MS), 1000 * MS, machine.clock)
