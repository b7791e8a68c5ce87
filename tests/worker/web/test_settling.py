"""Warm-up calls continue until an engine's code reaches its final speed: with a fake clock and engine."""

import pytest

from kdbench.worker.web import settling
from kdbench.worker.web.settling import settle

QUIET_S = 1.5


@pytest.fixture(autouse=True)
def _settled(monkeypatch, _unsettled):
    monkeypatch.setattr(settling, "QUIET_S", QUIET_S)


class Engine:
    """Takes 80 ms a call at first, 10 ms after one second, and 6 ms after four."""

    def __init__(self, *speeds):
        self.now, self.calls, self.speeds = 0.0, 0, speeds

    def __call__(self, out):
        for n in range(len(out)):
            call_s = next(s for until, s in self.speeds if self.now < until)
            self.now += call_s
            self.calls += 1
            out[n] = call_s * 1e9


def test_it_waits_until_code_is_compiled_for_the_last_time():
    engine = Engine((1.0, 0.08), (2.3, 0.010), (float("inf"), 0.006))
    settle(engine, lambda: 0.0, lambda: engine.now)
    assert 2.3 + QUIET_S <= engine.now < 2.3 + QUIET_S + 0.7  # two windows at most beyond it


def test_it_waits_while_other_threads_compile_though_calls_take_the_same():
    engine = Engine((float("inf"), 0.006))
    settle(engine, lambda: 0.5 * min(engine.now, 4.0), lambda: engine.now)  # half of the core until 4 s
    assert 4.0 + QUIET_S <= engine.now < 4.0 + QUIET_S + 0.7


def test_it_ends_where_nothing_becomes_faster():
    engine = Engine((float("inf"), 0.006))
    settle(engine, lambda: 0.0, lambda: engine.now)
    assert engine.now == pytest.approx(QUIET_S, abs=0.5)


def test_it_ends_where_calls_become_faster_for_ever():
    engine = Engine(*((float(second), 0.1 * 0.9**second) for second in range(1, 60)))
    settle(engine, lambda: 0.0, lambda: engine.now)
    assert 15 <= engine.now < 16
