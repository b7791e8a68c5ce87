"""Timing with a clock of our own: a call takes exactly as long as it says."""

import time

import numpy as np
import pytest

from kdbench.recipe.tables.measure import Measure
from kdbench.statistics import samples_needed
from kdbench.worker.loads import BLOCK_NS, MIN_ROUNDS, Calls, Paced, Server, Turn, time_calls
from kdbench.worker.timing import Interleaving, WarmUp, warm_up


class Machine:
    """A clock, and calls that move it on."""

    def __init__(self):
        self.now = 0
        self.log = []

    def clock(self):
        return self.now

    def calls(self, name, *durations, arguments=1):
        """Make calls that take `durations` in turn; the last for ever."""
        times = list(durations)

        def run(which):
            self.log.append((name, which))
            self.now += times.pop(0) if len(times) > 1 else times[0]

        return Calls(run, [(i,) for i in range(arguments)])


@pytest.fixture
def machine():
    return Machine()


def interleave(ready, deadline_ns, clock=time.perf_counter_ns):
    """Return the timed calls of all rounds until the deadline."""
    turns = Interleaving(ready, np.random.default_rng(0), clock)
    while turns.has_time(deadline_ns):
        turns.time_round()
    return turns.timed()


def test_each_call_is_timed_and_the_inputs_take_turns(machine):
    out = np.empty(5, np.int64)
    time_calls(machine.calls("a", 10, 20, 30, 40, 50, arguments=2), out, machine.clock)
    assert out.tolist() == [10, 20, 30, 40, 50]
    assert [which for _, which in machine.log] == [0, 1, 0, 1, 0]


def test_work_between_calls_is_off_the_clock(machine):
    class Slow(list):
        def __getitem__(self, index):
            machine.now += 1_000_000  # fetching an input takes long
            return super().__getitem__(index)

    calls = machine.calls("a", 7)
    out = np.empty(3, np.int64)
    time_calls(Calls(calls.run, Slow(calls.arguments)), out, machine.clock)
    assert out.tolist() == [7, 7, 7]


def test_warm_up_ends_when_two_windows_agree(machine):
    cold = [9_000_000, *[4_000_000] * 6, *[2_000_000] * 6]
    ready = warm_up(machine.calls("a", *cold, 1_000_000), 10**12, machine.clock)
    assert ready.call_ns == 1_000_000
    assert len(cold) < ready.warm_up_calls == len(machine.log)


def test_warm_up_of_calls_that_never_settle_ends_at_its_cap(machine):
    restless = [10**6 * 2**i for i in range(30)]
    warm_up(machine.calls("a", *restless), 10**9, machine.clock)
    assert machine.now < 5 * 10**9


def test_a_slow_model_is_warmed_up_by_one_call(machine):
    ready = warm_up(machine.calls("a", 5 * 10**9), 10**8, machine.clock)
    assert ready.warm_up_calls == 1


def test_blocks_are_long_enough_and_every_round_holds_every_model(machine):
    fast, slow = machine.calls("fast", 10_000), machine.calls("slow", 60_000_000)
    ready = [WarmUp(fast, 0, 10_000.0), WarmUp(slow, 0, 60_000_000.0)]
    times = interleave(ready, 10**9, machine.clock)
    fast_timed, slow_timed = times
    rounds = slow_timed.block.max() + 1
    assert len(slow_timed.ns) == rounds
    assert len(fast_timed.ns) == rounds * BLOCK_NS // 10_000
    assert (np.bincount(fast_timed.block) == BLOCK_NS // 10_000).all()
    assert set(fast_timed.ns) == {10_000}
    assert machine.now <= 10**9


def test_order_changes_from_round_to_round(machine):
    ready = [WarmUp(machine.calls(name, BLOCK_NS), 0, BLOCK_NS) for name in "abc"]
    interleave(ready, 10**10, machine.clock)
    names = "".join(name for name, _ in machine.log)[::2]  # every block has one call before it, off the clock
    rounds = {names[i : i + 3] for i in range(0, len(names) - 2, 3)}
    assert all(sorted(order) == list("abc") for order in rounds)
    assert len(rounds) == 6


def test_the_least_is_done_however_short_the_budget(machine):
    ready = [WarmUp(machine.calls("a", 10**10), 0, 1e10), WarmUp(machine.calls("b", 10), 0, 10.0)]
    a, _ = interleave(ready, 1, machine.clock)
    assert len(a.ns) == MIN_ROUNDS


def test_the_least_of_all_sessions_admits_a_median():
    assert Measure().sessions * MIN_ROUNDS >= samples_needed(50) == 11


def test_no_round_is_begun_that_would_end_late(machine):
    ready = [WarmUp(machine.calls("a", 3 * 10**8), 0, 3e8)]
    (timed,) = interleave(ready, 10**9, machine.clock)
    assert len(timed.ns) == 3


def test_every_call_knows_how_often_its_block_lost_the_core(machine, monkeypatch):
    """The counter grows during the second block only, and between blocks, which is off the clock."""
    readings = iter([0, 0, 5, 7, 7, 7])
    monkeypatch.setattr("kdbench.worker.timing.preemptions", lambda run: next(readings))
    ready = [WarmUp(machine.calls("a", BLOCK_NS // 2), 0, BLOCK_NS / 2)]
    (timed,) = interleave(ready, 3 * BLOCK_NS, machine.clock)
    assert timed.preempted.tolist() == [0, 0, 2, 2, 0, 0]


def test_nothing_to_time(machine):
    assert interleave([], 10**9, machine.clock) == []


class Elsewhere:
    """Calls of 1 µs that another process times, ten at once."""

    calls_per_step = 10

    def __init__(self):
        self.requests = []

    def __call__(self, *arguments):
        raise AssertionError("it is asked to time, never to call")

    def time(self, out, gap_ms=0):
        self.requests.append((len(out), gap_ms))
        out[:] = 1000

    def preemptions(self):
        return 7 * len(self.requests)


def test_calls_that_are_timed_elsewhere_have_shorter_blocks_and_their_own_preemptions():
    runs = [Elsewhere(), Elsewhere()]
    ready = [warm_up(Calls(run, [()]), cap_ns=10**9) for run in runs]
    assert [model.call_ns for model in ready] == [1000, 1000]
    for run in runs:
        run.requests.clear()
    timed = interleave(ready, 0)
    length = BLOCK_NS // 1000 // 10
    assert [run.requests for run in runs] == [[(length, 0)] * MIN_ROUNDS] * 2
    assert [set(one.preempted) for one in timed] == [{7}, {7}]


def test_a_gap_before_calls_elsewhere_is_waited_for_there():
    run = Elsewhere()
    turn = Turn(Calls(run, [()]), 1000, np.random.default_rng(0))
    Paced(5_000_000, sleep=pytest.fail).time(turn, np.empty(3, np.int64))
    assert run.requests == [(3, 5)]
    with pytest.raises(RuntimeError, match="random arrivals"):
        Server(10.0).time(turn, np.empty(3, np.int64))
