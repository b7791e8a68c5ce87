import re
import threading

import pytest

from kdbench.measure.energy import training
from kdbench.measure.energy.training import EpochMeter, training_energy
from kdbench.meters.choice import Choice
from kdbench.meters.meter import Available, MeterError, MeterStatus, Unavailable
from kdbench.results.cards import EnergyUse, ModelCard, Training


def card(energy=(), unmetered=None, *, trained=True):
    training = Training(
        objective="CE",
        epochs=1,
        best_epoch=1,
        kept_epoch=1,
        seconds=10.0,
        precision="32",
        device="cpu",
        threads=1,
        seed=0,
        energy=energy,
        unmetered=unmetered,
    )
    return ModelCard(
        id="m",
        name="m",
        role="teacher",
        file="m.onnx",
        sha256="0",
        input_shape=(1,),
        classes=2,
        parameters=1,
        training=training if trained else None,
    )


def use(scope, joules, evidence="measured", half=3.0):
    return EnergyUse(scope=scope, source="meter", evidence=evidence, energy_j=joules, half_width_j=half)


def test_one_scope():
    (result,) = training_energy(card((use("cpu.package", 500.0),)), None)
    assert (result.metric, result.value, result.axes, result.source) == ("training_j", 500.0, {}, "meter, cpu.package")
    assert (result.interval, result.status) == (None, "ok")  # of one training no spread is known


def test_several_scopes_and_their_sum_with_co2():
    board = use("gpu0.board", 3.6e6, half=4.0)
    result = list(training_energy(card((board, use("cpu.package", 1.8e6))), "FRA"))
    assert [(m.metric, m.axes.get("scope")) for m in result] == [
        (metric, scope)
        for scope in (None, "cpu.package", "gpu0.board + cpu.package")
        for metric in ("training_j", "training_co2_g")
    ]
    joules, grams = result[4], result[5]
    assert joules.value == 5.4e6
    assert grams.evidence == "modelled"
    assert grams.value == pytest.approx(1.5 * result[1].value)


def test_a_training_of_a_few_of_the_meters_steps_is_unstable_and_one_of_less_is_none():
    (coarse,) = training_energy(card((use("gpu0.board", 100.0, half=30.0),)), None)
    assert (coarse.status, coarse.reason) == ("unstable", "known to ±30 %, by the meter's steps")
    for joules in (0.0, 20.0):
        (nothing,) = training_energy(card((use("gpu0.board", joules, half=30.0),)), None)
        assert (nothing.status, nothing.value) == ("below_resolution", None)


def test_an_estimate_stays_one():
    board, guess = use("gpu0.board", 100.0), use("cpu.estimate", 10.0, "estimated")
    leading, beside, together = training_energy(card((board, guess)), None)
    assert [m.evidence for m in (leading, beside, together)] == ["measured", "estimated", "estimated"]
    assert together.interval is None


def test_a_training_that_was_not_metered_says_why():
    (result,) = training_energy(card(unmetered="RAPL: permission denied"), None)
    assert (result.status, result.reason) == ("unavailable", "RAPL: permission denied")
    _, grams = training_energy(card(unmetered="RAPL: permission denied"), "FRA")
    assert (grams.status, grams.reason) == ("unavailable", "RAPL: permission denied")
    assert re.fullmatch(r"\d+ g/kWh \(France, codecarbon [\d.]+\)", grams.source)


def test_a_model_that_was_not_trained_here_has_none():
    assert list(training_energy(card(trained=False), "FRA")) == []


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
        monkeypatch.setattr(training, "choose", lambda provider, *, estimate: Choice(statuses[0], tuple(statuses[1:])))
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
    monkeypatch.setattr(training, "choose", lambda *_, **__: Choice(Unavailable("RAPL: permission denied")))
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
    monkeypatch.setattr(training, "_READ_INTERVAL_S", 0.001)
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
