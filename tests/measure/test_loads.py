"""How calls follow each other, by a clock that moves only when something takes time."""

import numpy as np
import pytest

from kdbench.measure.loads import BLOCK_NS, Calls, Paced, Server, Stream, load_of


class World:
    """A clock, sleep, and a model that takes `call_ns`."""

    def __init__(self, call_ns, look_ns=1):
        self.now, self.call_ns, self.look_ns, self.slept, self.given = 0, call_ns, look_ns, [], []

    def clock(self):
        self.now += self.look_ns  # so that waiting awake ends
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += round(seconds * 1e9)

    def run(self, argument):
        self.given.append(argument)
        self.now += self.call_ns

    def time(self, load, count, seed=0):
        out = np.zeros(count, np.int64)
        load.time(Calls(self.run, [("a",), ("b",)]), out, np.random.default_rng(seed), self.clock)
        return out


def test_a_stream_times_one_call_after_the_other():
    world = World(1000)
    assert world.time(Stream(), 4).tolist() == [1001] * 4
    assert world.given == ["a", "b", "a", "b"]
    assert world.slept == []
    assert (Stream().calls(1000), Stream().calls(BLOCK_NS * 3)) == (BLOCK_NS // 1000, 1)


def test_paced_calls_have_idle_time_before_each_off_the_clock():
    world = World(2000)
    assert world.time(Paced(5_000_000, world.sleep), 3).tolist() == [2001] * 3
    assert world.slept == [0.005] * 3


def test_arrivals_come_at_the_rate_and_wait_for_the_calls_before():
    # M/D/1: the mean wait is rho / (2 (1 - rho)) calls (Pollaczek and Khinchine); rho = 0.5 makes 1.5 calls in all.
    world = World(1_000_000, look_ns=4000)
    server = Server(500, world.sleep)
    times = np.concatenate([world.time(server, 20_000, seed) for seed in range(2)])
    assert times.mean() == pytest.approx(1.5e6, rel=0.04)
    assert times.min() >= 1_000_000
    assert world.now == pytest.approx(2 * 25_000 / 500 * 1e9, rel=0.02)  # a quarter more: the unrecorded lead


def test_an_idle_server_answers_in_the_time_of_a_call():
    world = World(1000, look_ns=10_000)
    times = world.time(Server(10, world.sleep), 30)
    assert times.max() < 40_000
    assert max(world.slept) < 1.0
    assert sum(world.slept) == pytest.approx(38 / 10, rel=0.5)


def test_a_block_of_arrivals_is_long_enough_to_queue():
    assert (Server(50).calls(1e6), Server(5000).calls(1e6)) == (20, 500)


def test_configurations_name_their_load():
    told = {"gap_ms": 7, "rate_per_s": 30}
    assert isinstance(load_of({**told, "mode": "stream"}), Stream)
    assert load_of({**told, "mode": "paced"}).gap_ns == 7_000_000
    assert load_of({**told, "mode": "server"}).rate_per_s == 30
