"""How calls follow each other, by a clock that moves only when something takes time, and preemptions."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from kdbench.worker.jobs import TimedConfiguration
from kdbench.worker.loads import BLOCK_NS, Calls, Paced, Server, Stream, Turn, load_of


class World:
    """A clock, sleep, and a model that takes `call_ns`."""

    def __init__(self, call_ns, look_ns=1):
        self.now, self.call_ns, self.look_ns, self.slept, self.arguments = 0, call_ns, look_ns, [], []

    def clock(self):
        self.now += self.look_ns  # so that waiting awake ends
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += round(seconds * 1e9)

    def run(self, argument):
        self.arguments.append(argument)
        self.now += self.call_ns

    def turn(self, seed=0):
        return Turn(Calls(self.run, [("a",), ("b",)]), self.call_ns, np.random.default_rng(seed), self.clock)

    def time(self, load, count, seed=0):
        out = np.zeros(count, np.int64)
        load.time(self.turn(seed), out)
        return out


def test_a_stream_times_one_call_after_the_other():
    world = World(1000)
    assert world.time(Stream(), 4).tolist() == [1001] * 4
    assert world.arguments == ["a", "b", "a", "b"]
    assert world.slept == []
    assert (Stream().count(1000), Stream().count(BLOCK_NS * 3)) == (BLOCK_NS // 1000, 1)


def test_paced_calls_have_idle_time_before_each_off_the_clock():
    world = World(2000)
    assert world.time(Paced(5_000_000, world.sleep), 3).tolist() == [2001] * 3
    assert world.slept == [0.005] * 3


@pytest.mark.parametrize("busy", [0.2, 0.5, 0.9])
def test_short_blocks_of_arrivals_wait_as_in_the_long_run(busy):
    # M/D/1: the mean wait is rho / (2 (1 - rho)) calls (Pollaczek and Khinchine).
    call_ns = 1_000_000
    world = World(call_ns, look_ns=4000)
    server = Server(busy * 1000, world.sleep)
    times = np.concatenate([world.time(server, server.count(call_ns), seed) for seed in range(400)])
    assert times.mean() == pytest.approx(call_ns * (1 + busy / (2 * (1 - busy))), rel=0.06)
    assert times.min() >= call_ns


def test_arrivals_come_at_the_rate():
    world = World(1000, look_ns=10_000)
    times = world.time(Server(10, world.sleep), 300)
    assert times.max() < 40_000
    assert world.now == pytest.approx(300 / 10 * 1e9, rel=0.15)
    assert sum(world.slept) == pytest.approx(30, rel=0.15)


def test_the_steady_backlog_is_that_of_the_queue():
    rng = np.random.default_rng(0)
    drawn = [Server(800).backlog_ns(1e6, rng) for _ in range(4000)]
    assert np.mean(drawn) == pytest.approx(0.8 / 0.4 * 1e6, rel=0.06)
    assert np.mean(np.array(drawn) == 0) == pytest.approx(0.2, abs=0.03)  # it is idle a fifth of the time


def test_a_block_of_arrivals_is_long_enough_to_queue_and_short_where_it_never_ends():
    assert (Server(50).count(1e6), Server(800).count(1e6), Server(951).count(1e6)) == (20, 200, 1)
    assert Server(5000).backlog_ns(1e6, np.random.default_rng(0)) == 0


def test_back_to_back_caches_are_filled_before_a_block_and_slow_calls_do_not_mind():
    fast, slow = World(300_000), World(60_000_000)
    Stream().prime(fast.turn())
    Stream().prime(slow.turn())
    assert (fast.arguments, slow.arguments) == (["a", "b", "a", "b"], [])


def test_a_paced_block_is_opened_by_a_paced_call():
    world = World(2000)
    Paced(5_000_000, world.sleep).prime(world.turn())
    assert (world.slept, world.arguments) == ([0.005], ["a"])


def test_configurations_name_their_load():
    stream = TimedConfiguration(number=0, threads=1, batch=1, models=(0,), budget_s=1.0, gap_ms=7, rate_per_s=30)
    assert isinstance(load_of(stream), Stream)
    assert load_of(replace(stream, mode="paced")).gap_ns == 7_000_000
    assert load_of(replace(stream, mode="server")).rate_per_s == 30


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin processes")
def test_a_process_that_works_on_one_core_with_another_is_preempted():
    code = (
        "import os, sys, time; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from kdbench.worker.loads import preemptions; before = preemptions(None); child = os.fork(); "
        "end = time.process_time() + 0.3\n"
        "while time.process_time() < end: pass\n"
        "if child: os.waitpid(child, 0); print(preemptions(None) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 5  # they took turns of a few milliseconds
