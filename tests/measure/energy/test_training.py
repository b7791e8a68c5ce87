import re

import pytest

from kdbench.measure.energy.training import training_energy
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
