"""Windows on a machine of known power: their intervals hold that power."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from worker.known_power import MS, Machine, S, Sampled, Stepped

from kdbench.measure.energy.account import MeterProfile, accounts, gross, net, ratio
from kdbench.measure.energy.windows import MODES
from kdbench.worker.energy_window import update_period_ns, window

NAP_MS = 20  # of the idle machine


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
        counter = Stepped(machine, period_ms * MS, read_ns=period_ms * 10_000, phase_ns=draw * MS // 3)
        (result,) = measured(machine, counter, [machine.call(20 * MS, 50.0)], length_ns=2 * S)
        held += holds(gross(result), 80.0 * 0.02)
    assert held >= 92


def test_teacher_and_student_in_turn_survive_a_drift():
    """The machine warms up by a fifth while it is measured: the ratio does not notice."""
    machine = Machine(30.0, drift=lambda t_s: 0.3 * t_s)
    counter = Stepped(machine, 10 * MS)
    teacher, student = measured(machine, counter, [machine.call(8 * MS, 60.0), machine.call(2 * MS, 60.0)], length_ns=S)
    result = ratio(teacher, student)
    assert result.low < 4.0 < result.high
    assert (result.high - result.low) / result.value < 0.05
    assert net(teacher).unstable.startswith("idle power changed by")


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
