"""A window of energy begins and ends at updates of its counter, which otherwise rests."""

import pytest
from worker.known_power import MS, Machine, S, Sampled, Stepped

from kdbench.meters.meter import MeterError, MeterFailedError
from kdbench.worker.energy_window import update_period_ns, window


@pytest.mark.parametrize("period_ms", [1, 20, 100, 500])
def test_the_update_period_is_found(period_ms):
    machine = Machine()
    counter = Stepped(machine, period_ms * MS, read_ns=10_000, phase_ns=12_345)
    assert update_period_ns(counter, machine.clock) == pytest.approx(period_ms * MS, rel=0.02)
    assert machine.now < 3 * S  # a slow counter is not waited for ten times


def test_what_lags_has_no_shorter_a_period():
    machine = Machine()
    counter = Sampled(machine, 0.02)
    assert update_period_ns(counter, machine.clock) == pytest.approx(20 * MS, rel=0.02)
    counter.lag_s = 1.0
    assert update_period_ns(counter, machine.clock) == S


def test_edges_beat_naive_reads():
    """A counter stale by up to 100 ms: over 1 s, reading without regard to edges is off by up to 10 %."""
    errors, naive = [], []
    for phase in range(0, 100, 7):
        machine = Machine(50.0)
        counter = Stepped(machine, 100 * MS, phase_ns=phase * MS)
        call = machine.call(MS, 0.0)
        result = window([counter], call, S, 0, machine.clock, period_ns=counter.period_ns)
        errors.append(abs(result.spans[0].energy_j / result.calls / 0.05 - 1))
        (_, begin), calls = counter.read(), 1050
        for _ in range(calls):
            call()
        naive.append(abs((counter.read()[1] - begin) / calls / 0.05 - 1))
    assert max(errors) < 0.012
    assert max(naive) > 3 * max(errors)


def test_the_counters_rest_while_the_window_runs():
    machine = Machine()
    counter = Stepped(machine, MS, read_ns=1)
    reads = []
    inner = counter.read
    counter.read = lambda: reads.append(machine.now) or inner()
    window([counter], machine.call(100_000, 1.0), S, 0, machine.clock, period_ns=counter.period_ns)
    assert len(reads) < 50  # of 10 000 calls


def test_a_window_begins_when_a_change_of_power_shows():
    """A mean over the last second still holds the model before; its window must not."""
    machine = Machine(10.0)
    counter = Stepped(machine, MS)
    counter.lag_s = 1.0
    begun = machine.now
    seen = []
    call = lambda: (seen.append(machine.now), machine.spend(10 * MS, 5.0))  # noqa: E731
    window([counter], call, 100 * MS, 200 * MS, machine.clock, period_ns=MS)
    assert seen[-1] - begun >= 1300 * MS


def test_two_counters_are_read_over_the_same_calls():
    machine = Machine(10.0)
    leading, beside = Stepped(machine, 100 * MS), Stepped(machine, MS)
    result = window([leading, beside], machine.call(MS, 40.0), 2 * S, 0, machine.clock, period_ns=100 * MS)
    first, second = (span.energy_j / span.duration_ns * S for span in result.spans)
    assert first == pytest.approx(50, rel=0.01)
    assert second == pytest.approx(50, rel=0.01)


def test_a_counter_that_stops_is_an_error_not_a_zero():
    machine = Machine(0.0)
    with pytest.raises(MeterError, match="stands still"):
        window([Stepped(machine, MS)], machine.call(MS, 0.0), S, 0, machine.clock, period_ns=MS)


def test_a_source_may_take_its_time_to_start():
    """The first reading of an estimate imports and sets up: that is not the counter standing still."""
    machine = Machine()
    counter = Stepped(machine, 20 * MS)
    inner, slow = counter.read, [30 * S]
    counter.read = lambda: (slow and machine.spend(slow.pop()), inner())[1]
    assert update_period_ns(counter, machine.clock) == pytest.approx(20 * MS, rel=0.02)


def test_a_polled_meter_whose_time_stands_still_is_an_error():
    machine = Machine()
    counter = Sampled(machine, 1e9)
    with pytest.raises(MeterError, match="stands still"):
        window([counter], machine.call(MS, 0.0), S, 0, machine.clock, period_ns=counter.period_ns)


@pytest.mark.parametrize("which", [0, 1])
def test_a_counter_that_goes_back_is_an_error_not_a_negative_energy(which):
    """A driver that is reloaded within the window begins again at 0."""
    machine = Machine(10.0)
    counters = [Stepped(machine, MS), Stepped(machine, MS)]
    inner = counters[which].read

    def reset_after_a_second():
        now, joules = inner()
        return now, joules - (1e6 if now > S else 0.0)

    counters[which].read = reset_after_a_second
    with pytest.raises(MeterError, match="went back"):
        window(counters, machine.call(MS, 1.0), 2 * S, 0, machine.clock, period_ns=MS)


def test_a_counter_beside_that_rests_is_an_error_not_a_zero():
    machine = Machine(10.0)
    leading, beside = Stepped(machine, MS), Stepped(machine, MS)
    beside.name = "beside"
    beside.read = lambda: (machine.now, 7.0)
    with pytest.raises(MeterFailedError, match="beside stands still") as result:
        window([leading, beside], machine.call(MS, 1.0), S, 0, machine.clock, period_ns=MS)
    assert result.value.name == "beside"
    beside.evidence = "estimated"  # of work alone: there may be none
    assert window([leading, beside], machine.call(MS, 1.0), S, 0, machine.clock, period_ns=MS).spans[1].energy_j == 0


@pytest.mark.parametrize(("read_us", "updates"), [(50, 20), (1000, 20), (3000, 20), (3000, 100)])
def test_looking_for_edges_does_not_make_calls_dear(read_us, updates):
    """Elsewhere +5 %: the counter is read after every short call for a whole period before the edge that ends."""
    machine = Machine(20.0)
    counter = Stepped(machine, 100 * MS, read_ns=read_us * 1000)
    result = window([counter], machine.call(100_000, 80.0), updates * 100 * MS, 0, machine.clock, period_ns=100 * MS)
    assert result.spans[0].energy_j / result.calls == pytest.approx(100 * 1e-4, rel=0.2 / updates)


def test_a_window_is_as_long_as_asked_to_a_period():
    machine = Machine(20.0)
    counter = Stepped(machine, 100 * MS, read_ns=1000)
    for length_ns in (10 * MS, 100 * MS, 1010 * MS):
        result = window([counter], machine.call(MS, 1.0), length_ns, 0, machine.clock, period_ns=100 * MS)
        periods = -(-length_ns // (100 * MS))
        assert result.spans[0].duration_ns == pytest.approx(periods * 100 * MS, abs=12 * MS)
