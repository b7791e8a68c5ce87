"""What the harness adds to each timed call: its loop against a bare loop of `session.run`, in alternation.

    pytest benchmarks/bench_harness.py --benchmark-columns=min,median,rounds

The goal is less than 1 µs per call; `extra_info` of the JSON holds the figure, and the last test checks it.
"""

import statistics
import time

import numpy as np
import pytest

from kdbench.measure.staging import null_model
from kdbench.worker.inputs import prepare
from kdbench.worker.loads import Calls, time_calls
from kdbench.worker.runtimes.onnxruntime import LoadedModel

PROMISE_NS = 1000
CALLS = 5000
ROUNDS = 30


@pytest.fixture
def calls(tmp_path):
    model = null_model(tmp_path)
    inputs = [prepare(np.zeros((1, 1, 1, 1), np.uint8), model) for _ in range(8)]
    return Calls(*LoadedModel(model, provider="cpu", threads=1).bind(inputs))


def bare_loop(calls: Calls) -> None:
    run = calls.run
    ((names, feed),) = calls.arguments[:1]
    for _ in range(CALLS):
        run(names, feed)


def timed_loop(calls: Calls, out: np.ndarray) -> None:
    time_calls(calls, out)


def bench_bare_loop(benchmark, calls):
    benchmark.pedantic(bare_loop, (calls,), rounds=ROUNDS, warmup_rounds=2)


def bench_timed_loop(benchmark, calls):
    benchmark.pedantic(timed_loop, (calls, np.empty(CALLS, np.int64)), rounds=ROUNDS, warmup_rounds=2)


def bench_cost_per_call(benchmark, calls):
    """One after the other in every round, so that the machine's drift falls on both."""
    out = np.empty(CALLS, np.int64)
    costs, above_bare_ns = [], []

    def both():
        begin = time.perf_counter_ns()
        bare_loop(calls)
        between = time.perf_counter_ns()
        timed_loop(calls, out)
        bare, timed = between - begin, time.perf_counter_ns() - between
        costs.append((timed - bare) / CALLS)
        above_bare_ns.append((out.sum() - bare) / CALLS)

    benchmark.pedantic(both, rounds=ROUNDS, warmup_rounds=2)
    cost = statistics.median(costs)
    benchmark.extra_info["cost_per_call_ns"] = cost
    benchmark.extra_info["told_above_bare_ns"] = statistics.median(above_bare_ns)
    print(f"\nharness cost {cost:.0f} ns per call; on the clock {statistics.median(above_bare_ns):.0f} ns")
    assert cost < PROMISE_NS
