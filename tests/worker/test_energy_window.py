"""A machine of known power, with counters that move in steps or are polled: the windows must find the power again."""

from bisect import bisect_right

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kdbench.measure.energy.account import Account, MeterProfile, accounts, gross, net, ratio
from kdbench.measure.energy.windows import MODES
from kdbench.meters.meter import MeterError, MeterFailedError, PolledMeter
from kdbench.worker.energy_window import update_period_ns, window

MS = 1_000_000
S = 1_000_000_000
NAP_MS = 20  # of the idle machine


class Machine:
    """A clock in ns, and a power in watts at every moment of it: `base_w` and what `drift` and the work add.

    The energy up to a moment is known exactly, as the integral of what was spent until then.
    """

    def __init__(self, base_w=20.0, drift=lambda t_s: 0.0):
        self.base_w, self.drift = base_w, drift
        self.now, self.spent_j, self.power_w, self.work_w = 0, 0.0, 0.0, 0.0
        self._since = [(0, 0.0, 0.0)]  # from which moment, with how many joules until then, at which power

    def clock(self):
        return self.now

    def spend(self, duration_ns, watts=None):
        """Let time pass, `watts` above the idle power; by default as many as before."""
        self.work_w = self.work_w if watts is None else watts
        power_w = self.base_w + self.drift(self.now / S) + self.work_w
        if power_w != self.power_w:
            self.power_w = power_w
            self._since.append((self.now, self.spent_j, power_w))
        self.now += duration_ns
        self.spent_j += power_w * duration_ns / S

    def joules(self, at_ns):
        begin_ns, joules, power_w = self._since[bisect_right(self._since, at_ns, key=lambda since: since[0]) - 1]
        return joules + power_w * (at_ns - begin_ns) / S

    def watts(self):
        return self.power_w

    def call(self, duration_ns, watts):
        return lambda: self.spend(duration_ns, watts)


class Stepped:
    """A counter that shows the energy as of its last update."""

    name, evidence, lag_s, stepped = "stepped", "measured", 0.0, True

    def __init__(self, machine, period_ns, read_ns=50_000, phase_ns=0):
        self.machine, self.period_ns, self.read_ns, self.phase_ns = machine, period_ns, read_ns, phase_ns

    def read(self):
        self.machine.spend(self.read_ns)
        now = self.machine.now
        updated = (now - self.phase_ns) // self.period_ns * self.period_ns + self.phase_ns
        return now, self.machine.joules(max(updated, 0))


class Sampled(PolledMeter):
    """A power that is read every so often."""

    name, evidence, lag_s = "sampled", "measured", 0.0

    def __init__(self, machine, poll_s):
        super().__init__(machine.clock, background=False)
        self.machine, self.poll_s, self.period_ns = machine, poll_s, poll_s * S

    def read(self):
        self.machine.spend(int(self.poll_s * S / 500))
        return super().read()

    def watts(self):
        return self.machine.watts()


def nap(machine):
    return machine.call(NAP_MS * MS, 0.0)


def measured(machine, counter, calls, *, length_ns, rounds=5, settle_ns=0):
    """Return an account of each of `calls`, taken as the probe takes them."""
    period_ns = update_period_ns(counter, machine.clock)

    def samples(call):
        result = window([counter], call, length_ns, settle_ns, machine.clock, period_ns=period_ns)
        return {"calls": result.calls, "spans": result.spans}

    idle = [samples(nap(machine))]
    windows = [[] for _ in calls]
    for turn in range(rounds):
        for index in range(len(calls))[:: 1 if turn % 2 == 0 else -1]:
            windows[index].append(samples(calls[index]))
        idle.append(samples(nap(machine)))
    spans = [sample["spans"][0] for sample in idle]
    meter = MeterProfile(
        name=counter.name,
        scope="test",
        evidence="measured",
        period_s=period_ns / S,
        idle_w=np.array([span.energy_j / span.duration_ns * S for span in spans]),
        idle_s=min(span.duration_ns for span in spans) / S,
    )
    return [accounts(of_call, [meter], resolution=0.0)[0] for of_call in windows]


def holds(value, truth):
    return abs(value.joules - truth) <= value.half_width_j


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


@settings(max_examples=40, deadline=None)
@given(
    base_w=st.floats(0.5, 100),
    work_w=st.floats(1, 400),
    call_ms=st.floats(0.5, 300),
    period_ms=st.floats(1, 500),
    length_s=st.floats(0.1, 60),
    phase=st.floats(0, 1),
)
@example(base_w=2.0, work_w=1.0, call_ms=1.0, period_ms=1.5, length_s=1.5, phase=0.0)  # calls and updates in step
def test_a_known_power_is_recovered_within_its_interval(base_w, work_w, call_ms, period_ms, length_s, phase):
    """A window may be a fraction of a period long if calls are shorter; if not, it takes as many as the quick mode's.

    Between longer calls, an edge is seen up to a period late.
    """
    if max(call_ms, NAP_MS) > period_ms / 2:
        length_s = max(length_s, MODES["quick"].least_updates * period_ms / 1e3)
    call_ms = max(call_ms, length_s * 1e3 / 500)  # no more calls than a test has patience for
    machine = Machine(base_w)
    period_ns, call_ns = int(period_ms * MS), int(call_ms * MS)
    counter = Stepped(machine, period_ns, phase_ns=int(phase * period_ns))
    (result,) = measured(machine, counter, [machine.call(call_ns, work_w)], length_ns=length_s * S)
    assert holds(gross(result), (base_w + work_w) * call_ns / S)
    assert holds(net(result), work_w * call_ns / S)


@settings(max_examples=40, deadline=None)
@given(work_w=st.floats(1, 400), call_ms=st.floats(0.5, 50), poll_ms=st.floats(5, 200), length_s=st.floats(1, 10))
def test_a_power_that_is_polled_is_recovered_too(work_w, call_ms, poll_ms, length_s):
    machine = Machine()
    call_ns = int(call_ms * MS)
    counter = Sampled(machine, poll_ms / 1e3)
    (result,) = measured(machine, counter, [machine.call(call_ns, work_w)], length_ns=length_s * S, settle_ns=300 * MS)
    assert holds(gross(result), (20 + work_w) * call_ns / S)


@pytest.mark.parametrize("period_ms", [1, 100])
def test_intervals_cover_a_power_that_fluctuates(period_ms):
    """Windows that differ by chance, with a slow swing besides: the mean power over hours is in the interval."""
    rng = np.random.default_rng(period_ms)
    held = 0
    for draw in range(100):
        state = {"second": -1, "watts": 0.0}

        def drift(t_s, state=state):
            if int(t_s) != state["second"]:  # a new power every second, correlated within it only
                state["second"], state["watts"] = int(t_s), float(rng.normal(0, 2))
            return state["watts"]

        machine = Machine(30.0, drift)
        counter = Stepped(machine, period_ms * MS, phase_ns=draw * MS // 3)
        (result,) = measured(machine, counter, [machine.call(20 * MS, 50.0)], length_ns=2 * S)
        held += holds(gross(result), 80.0 * 0.02)
    assert held >= 92


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


def test_teacher_and_student_in_turn_survive_a_drift():
    """The machine warms up by a fifth while it is measured: the ratio does not notice."""
    machine = Machine(30.0, drift=lambda t_s: 0.3 * t_s)
    counter = Stepped(machine, 10 * MS)
    teacher, student = measured(machine, counter, [machine.call(8 * MS, 60.0), machine.call(2 * MS, 60.0)], length_ns=S)
    result = ratio(teacher, student)
    assert result.low < 4.0 < result.high
    assert (result.high - result.low) / result.value < 0.05
    assert net(teacher).unstable.startswith("idle power changed by")


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


@pytest.mark.parametrize("length_s", [2, 10])
def test_net_energy_covers_where_the_idle_power_is_restless(length_s):
    """And the work is not, as usual: two idle windows would not tell, and hold the truth 65 to 80 times."""
    rng = np.random.default_rng(length_s)
    held = 0
    for _ in range(100):
        state = {"second": -1, "watts": 0.0}
        machine = Machine(20.0)

        def drift(t_s, state=state, machine=machine):
            if int(t_s) != state["second"]:
                state["second"], state["watts"] = int(t_s), float(rng.normal(0, 1))
            return 0.0 if machine.work_w else state["watts"]

        machine.drift = drift
        (result,) = measured(machine, Stepped(machine, 10 * MS), [machine.call(5 * MS, 60.0)], length_ns=length_s * S)
        held += holds(net(result), 60.0 * 0.005)
    assert held >= 92


def test_accounts_of_two_meters_are_added():
    ones, idle = np.ones(5), np.ones(6)
    one = Account("gpu0.board", "nvml, gpu0.board", "measured", 3 * ones, ones, 0.3, 50 * idle, 1.0, 0.0)
    other = Account("cpu.package", "rapl, cpu.package", "measured", 1 * ones, ones, 0.4, 10 * idle, 0.5, 0.025)
    both = one + other
    assert both.scope == "gpu0.board + cpu.package"
    assert gross(both).joules == 4.0
    assert both.step_j == pytest.approx(0.5)
    assert both.idle_step_w == pytest.approx(1.25**0.5)
    assert both.idle_w.tolist() == [60.0] * 6
    assert both.resolution == 0.025
    guess = one + Account("cpu.estimate", "codecarbon", "estimated", ones, ones, 0.1, 0 * idle, 0.0)
    assert guess.evidence == "estimated"


def test_a_counter_beside_has_a_time_of_its_own():
    """What it counted between its own readings is a power, whatever time lay between the leading one's edges."""
    windows = [{"calls": 10, "spans": [(100.0, S), (30.0, 2 * S)]}] * 5
    meters = [MeterProfile(name, name, "measured", 0.1, np.full(6, 5.0), 1.0) for name in ("leading", "beside")]
    leading, beside = accounts(windows, meters, resolution=0.0)
    assert gross(leading).joules == pytest.approx(10.0)
    assert gross(beside).joules == pytest.approx(15.0 * 0.1)
    assert beside.step_j == pytest.approx(15.0 * 0.1 / np.sqrt(3) / 10)


def test_windows_five_per_cent_apart_are_the_limit():
    def spread(share):
        values = 1 + share * np.array([-1.0, -1.0, 0.0, 1.0, 1.0])
        return gross(Account("s", "s", "measured", values, np.ones(5), 0.0, np.ones(6), 0.0)).unstable

    assert spread(0.049) is None
    assert spread(0.051) == "windows differ by 5.1 %"
