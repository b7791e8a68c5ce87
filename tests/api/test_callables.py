"""Times of functions, by a clock that they advance themselves."""

import asyncio
import time

import numpy as np
import pytest
import torch

import kdbench
from kdbench.api.callables import CAVEATS, _Config, _times, timed_sessions
from kdbench.errors import InputError
from kdbench.progress import Silent
from kdbench.worker.loads import Calls

CONFIG = _Config(budget_s=2.0, sessions=3, precision=0.2)


def slowly(function, argument):
    """Call a function, slowly: of faster calls there are many, whose statistics take a second."""
    time.sleep(1e-3)
    return function(argument)


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch):
    monkeypatch.setattr("kdbench.statistics.clustered.DRAWS", 100)


class Clock:
    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 10  # reading it takes time, too
        return self.now


@pytest.fixture
def sampled():
    """Time functions that take so many ns a call, a few per cent more or less."""

    def sample(config=CONFIG, **took_ns):
        clock, rng = Clock(), np.random.default_rng(1)

        def advancing(ns):
            def function():
                clock.now += int(ns * (1 + 0.02 * rng.standard_normal()))

            return function

        calls = {name: Calls(advancing(ns), [()]) for name, ns in took_ns.items()}
        return timed_sessions(calls, config, Silent(), clock), clock

    return sample


def test_times_and_ratio_are_those_of_the_functions(sampled):
    samples, clock = sampled(slow=2_000_000, fast=500_000)
    times = _times(samples, 3, timed="fast")
    assert times.median.model == "fast"
    assert times.median.value == pytest.approx(500_000, rel=0.02)
    assert times.find("latency_mean_ns", "slow").value == pytest.approx(2_000_000, rel=0.02)
    assert (times.ratio.teacher, times.ratio.student) == ("slow", "fast")
    assert times.ratio.interval.low < 4 < times.ratio.interval.high
    assert times.ratio.value == pytest.approx(4, rel=0.02)
    assert times.sessions == 3, "precise at once"
    assert clock.now < 3e9


def test_an_interval_allows_for_what_runs_differ_by(sampled):
    samples, _ = sampled(alone=1_000_000)
    median = _times(samples, 3, timed="alone").median
    assert median.interval.low < median.within_run.low
    assert median.within_run.high < median.interval.high


def test_sessions_are_added_until_the_budget_is_spent(sampled):
    samples, clock = sampled(_Config(budget_s=0.3, sessions=3, precision=0.0041), alone=1_000_000)
    sessions = int(samples["alone"].session.max()) + 1
    assert sessions > 3
    assert 0.2e9 < clock.now <= 0.4e9


def test_arguments_are_taken_in_turn():
    seen = set()
    kdbench.time_callable(lambda *arguments: slowly(seen.add, arguments), [1, (2, 3)], budget_s=0.1, sessions=2)
    assert seen == {(1,), (2, 3)}
    array = np.arange(3)
    kdbench.time_callable(lambda arguments: slowly(seen.add, arguments is array), array, budget_s=0.1, sessions=2)
    assert True in seen


def test_what_is_not_promised_is_said():
    times = kdbench.time_callable(lambda: slowly(id, None), budget_s=0.1, sessions=2)
    assert times.caveats == CAVEATS
    for caveat in CAVEATS:
        assert caveat in str(times)
    assert times.ratio is None
    assert times._repr_html_().startswith("<pre>&lt;lambda&gt;: median")


def on_device():
    return torch.empty(2, device="meta")  # as one on a GPU does, it returns at once


class Computing:
    def block_until_ready(self):
        """As JAX's arrays."""


def generating():
    yield 1


def broken(_):
    raise ZeroDivisionError("by zero")


async def waiting():
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (broken, {"inputs": 1}, "broken failed: ZeroDivisionError: by zero"),
        (waiting, {}, "waiting returns a coroutine"),
        (lambda: waiting(), {}, "<lambda> returns a coroutine"),  # noqa: PLW0108 - it is no coroutine function
        (generating, {}, "generating returns a generator"),
        (on_device, {}, "on a device"),
        (lambda: {"loss": 0.5, "outputs": [(np.zeros(2), on_device())]}, {}, "on a device"),
        (Computing, {}, "on a device"),
        (3, {}, "fn cannot be 3"),
        (len, {"inputs": []}, "empty list"),
        (len, {"inputs": "x", "budget_s": 0}, "budget_s is 0"),
        (len, {"inputs": "x", "sessions": 1}, "sessions is 1"),
        (len, {"inputs": "x", "against": broken}, "broken failed"),
    ],
)
def test_what_cannot_be_timed_is_refused(function, options, message):
    with pytest.raises(InputError, match=message) as error:
        kdbench.time_callable(function, **options)
    assert error.value.hint


def test_finished_results_are_not_taken_for_unfinished_ones():
    finished = {"logits": torch.zeros(2), "array": np.zeros(2), "more": [1, "two", None]}
    assert kdbench.time_callable(lambda: slowly(id, None) and finished, budget_s=0.05, sessions=2).median.value > 1e6


def test_a_function_that_fails_later_is_named():
    calls = iter(range(20))
    with pytest.raises(InputError, match="StopIteration"):
        kdbench.time_callable(lambda: next(calls), budget_s=0.1, sessions=2)


@pytest.mark.parametrize("enabled", [True, False])
def test_the_rest_of_the_process_keeps_its_garbage_collection(enabled):
    import gc

    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        kdbench.time_callable(lambda: slowly(id, None), budget_s=0.05, sessions=2)
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()
