"""Gains against counts made one sample after the other, and the interval against its published formula."""

import math

import numpy as np
import pytest

from kdbench.evaluate.gains import GAINS, gain_measurements
from kdbench.evaluate.predictions import Predictions

SAMPLES, CLASSES = 300, 8


@pytest.fixture
def gains(tiny, bench_model):
    """Return the gains of one model over another by metric, from their outputs and the labels."""
    cards = bench_model(tiny("s")).card, bench_model(tiny("alone", seed=1)).card

    def of(outputs, labels, form="logits"):
        student, other = (Predictions.of(card, z, labels, form=form) for card, z in zip(cards, outputs, strict=True))
        return {m.metric: m for m in gain_measurements(student, other)}

    return of


@pytest.fixture
def drawn():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, CLASSES, SAMPLES)
    logits = rng.normal(0, 1, (2, SAMPLES, CLASSES))
    for model, signal in enumerate((1.2, 0.8)):
        logits[model, np.arange(SAMPLES), labels] += signal
    return logits, labels


@pytest.mark.parametrize(("metric", "best"), [("top1_gain", 1), ("top5_gain", 5)])
def test_a_gain_is_the_difference_of_counts_with_bonett_and_prices_interval(gains, drawn, metric, best):
    logits, labels = drawn
    hits = [[label in np.argsort(-z)[:best] for z, label in zip(model, labels, strict=True)] for model in logits]
    only_first = sum(a and not b for a, b in zip(*hits, strict=True))
    only_second = sum(b and not a for a, b in zip(*hits, strict=True))
    gain = gains(logits, labels)[metric]
    assert gain.value == pytest.approx(100 * (sum(hits[0]) - sum(hits[1])) / SAMPLES)
    first, second = (only_first + 1) / (SAMPLES + 2), (only_second + 1) / (SAMPLES + 2)
    half = 1.959964 * math.sqrt((first + second - (first - second) ** 2) / (SAMPLES + 2))
    assert gain.interval.low == pytest.approx(100 * (first - second - half), abs=1e-4)
    assert gain.interval.high == pytest.approx(100 * (first - second + half), abs=1e-4)
    assert (gain.model, gain.axes, gain.unit, gain.n) == ("s", {"beside": "alone"}, "points", SAMPLES)


def test_the_gain_in_the_other_direction_is_the_negative(gains, drawn):
    logits, labels = drawn
    forward, backward = gains(logits, labels), gains(logits[::-1], labels)
    for metric in GAINS:
        assert forward[metric].value == -backward[metric].value
        assert forward[metric].interval.low == pytest.approx(-backward[metric].interval.high)


def test_a_model_of_few_classes_has_no_top_5_gain(gains):
    labels = np.array([0, 1, 2, 1])
    logits = np.eye(3)[labels] + np.array([0.1, 0.2, 0.3])
    found = gains((logits, logits), labels)
    assert (found["top1_gain"].status, found["top1_gain"].value) == ("ok", 0)
    assert (found["top5_gain"].status, found["top5_gain"].reason) == ("unavailable", "the model has 3 classes")
