import threading

import pytest

from kdbench.measure.energy import epochs
from kdbench.measure.energy.epochs import EpochMeter
from kdbench.meters.choice import Choice
from kdbench.meters.meter import Available, MeterError, MeterStatus, Unavailable


class Meter:
    """Moves by a joule whenever it is read, five milliseconds apart by its own clock: an edge is two readings."""

    evidence, stepped, lag_s = "measured", True, 0.0

    def __init__(self, scope="cpu.package", breaks_at=10**9):
        self.name = {"gpu0.board": "nvml"}.get(scope, "rapl")
        self.scope, self.reads, self.closed, self._breaks_at = scope, 0, 0, breaks_at

    def read(self):
        self.reads += 1
        if self.reads >= self._breaks_at:
            raise MeterError("RAPL: unreadable")
        return self.reads * 5_000_000, float(self.reads)

    def close(self):
        self.closed += 1


@pytest.fixture
def chosen(monkeypatch):
    def choose(*counters):
        statuses = [MeterStatus(counter, Available("")) for counter in counters]
        monkeypatch.setattr(epochs, "choose", lambda provider, *, estimate: Choice(statuses[0], tuple(statuses[1:])))
        return counters

    return choose


def test_every_scope_is_read_and_closed(chosen):
    board, package = chosen(Meter("gpu0.board"), Meter())
    with EpochMeter("cuda", estimate=False) as meter:
        before, after = meter.read(), meter.read()
    assert {source: after[source] - before[source] for source in after} == {
        "nvml, gpu0.board": 1.0,
        "rapl, cpu.package": 1.0,
    }
    assert next(iter(after)) == "nvml, gpu0.board"
    assert (board.closed, package.closed) == (1, 1)
    assert not [thread for thread in threading.enumerate() if thread.name == "kdbench-energy"]


def test_what_a_training_used_with_the_uncertainty_of_the_counters_steps(chosen):
    chosen(Meter("gpu0.board"), Meter())
    with EpochMeter("cuda", estimate=False) as meter:
        joules = {"nvml, gpu0.board": 1000.0, "rapl, cpu.package": 100.0}
        board, package = meter.uses(joules, seconds=10.0, epochs=4)
    assert (board.scope, board.source, board.energy_j) == ("gpu0.board", "nvml", 1000.0)
    # 100 W for a step of 10 ms, at the ends of each of four epochs.
    assert board.half_width_j == pytest.approx(2 * 100 * 0.01 / 3**0.5 * 2)
    assert package.half_width_j == pytest.approx(board.half_width_j / 10)


def test_without_a_source_there_is_the_reason(monkeypatch):
    monkeypatch.setattr(epochs, "choose", lambda *_, **__: Choice(Unavailable("RAPL: permission denied")))
    with EpochMeter("cpu", estimate=False) as meter:
        assert meter.read() == {}
        assert meter.refusal == "RAPL: permission denied"


def test_a_source_that_gives_out_is_silent_from_then_on(chosen):
    (counter,) = chosen(Meter(breaks_at=20))
    with EpochMeter("cpu", estimate=False) as meter:
        while meter.read():
            pass
        assert meter.refusal == "RAPL: unreadable"
        reads = counter.reads
        assert meter.read() == {}
    assert counter.reads == reads


def test_another_one_that_gives_out_is_left_out(chosen):
    chosen(Meter("gpu0.board"), Meter(breaks_at=20))
    with EpochMeter("cuda", estimate=False) as meter:
        while "rapl, cpu.package" in meter.read():
            pass
        assert list(meter.read()) == ["nvml, gpu0.board"]
        assert meter.refusal is None


def test_a_source_that_gives_out_at_once_is_no_obstacle(chosen):
    (counter,) = chosen(Meter(breaks_at=1))
    with EpochMeter("cpu", estimate=False) as meter:
        assert (meter.read(), meter.refusal) == ({}, "RAPL: unreadable")
    assert counter.closed == 1


def test_counters_that_turn_over_are_read_in_between(chosen, monkeypatch):
    """And what is not stepped is left to the thread that works: an estimate asks after that thread's time."""
    monkeypatch.setattr(epochs, "_KEEP_ALIVE_S", 0.001)
    turning, other = chosen(Meter("gpu0.board"), Meter("cpu.package"))
    other.stepped = False
    with EpochMeter("cpu", estimate=False) as meter:
        at_first, enough = other.reads, threading.Event()
        inner = turning.read

        def read():
            if turning.reads > 30:
                enough.set()
            return inner()

        turning.read = read
        assert enough.wait(10)
        assert other.reads == at_first
    assert meter.refusal is None
