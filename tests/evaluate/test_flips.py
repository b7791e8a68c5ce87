"""Flips against counts made one sample after the other, and calibration against its definition."""

import math

import numpy as np
import pytest
from scipy.special import softmax

from kdbench import statistics
from kdbench.evaluate.flips import FLIPS, flip_pairs
from kdbench.evaluate.predictions import Analyses, Predictions

CLASSES = 5
NAMES = ("ant", "bee", "cat", "dog", "emu")


@pytest.fixture
def flips(tiny, bench_model):
    """Return the pairs of a teacher and its student by metric, from their outputs and the labels."""
    cards = bench_model(tiny("t")).card, bench_model(tiny("s"), teacher="t").card

    def of(outputs, labels, analyses=Analyses(), form="logits"):  # noqa: B008 - a frozen value
        models = [Predictions.of(card, z, labels, form=form) for card, z in zip(cards, outputs, strict=True)]
        return {pair.metric: pair for pair in flip_pairs(*models, labels, analyses)}

    return of


@pytest.fixture
def drawn():
    """Logits of two models that are right on about half of 400 samples, and the labels, of unequal classes."""
    rng = np.random.default_rng(11)
    labels = rng.choice(CLASSES, 400, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    logits = rng.normal(0, 1, (2, 400, CLASSES))
    for model, signal in enumerate((1.3, 1.0)):
        logits[model, np.arange(400), labels] += signal
    return logits, labels


def test_counts_are_those_of_a_look_at_every_sample(flips, drawn):
    (teacher, student), labels = drawn
    lost, gained = [0] * CLASSES, [0] * CLASSES
    for t, s, label in zip(teacher, student, labels, strict=True):
        right_t, right_s = (int(np.argmax(z)) == int(label) for z in (t, s))
        lost[label] += right_t and not right_s
        gained[label] += right_s and not right_t
    pairs = flips(drawn[0], labels)
    assert tuple(pairs) == FLIPS
    assert pairs["negative_flips"].value == sum(lost) / 400
    assert pairs["positive_flips"].value == sum(gained) / 400
    assert (pairs["negative_flips"].n, pairs["mcnemar_p"].n) == (400, sum(lost) + sum(gained))
    more = max(sum(lost), sum(gained))
    n = sum(lost) + sum(gained)
    tail = sum(math.comb(n, k) for k in range(more, n + 1)) - math.comb(n, more) / 2
    assert pairs["mcnemar_p"].value == pytest.approx(min(2 * tail / 2**n, 1))
    assert 1e-6 < pairs["mcnemar_p"].value < 0.9
    sizes = [int((labels == c).sum()) for c in range(CLASSES)]
    drops = [100 * (a - b) / size for a, b, size in zip(lost, gained, sizes, strict=True)]
    worst = int(np.argmax(drops))
    assert pairs["worst_class_drop"].value == pytest.approx(drops[worst])
    assert (pairs["worst_class_drop"].axes, pairs["worst_class_drop"].n) == ({"class": worst}, sizes[worst])


def test_the_drop_is_what_negative_flips_exceed_positive_ones_by(flips, drawn):
    logits, labels = drawn
    pairs = flips(logits, labels)
    right = [(z.argmax(axis=1) == labels).mean() for z in logits]
    assert pairs["negative_flips"].value - pairs["positive_flips"].value == pytest.approx(right[0] - right[1])
    swapped = flips(logits[::-1], labels)
    assert swapped["negative_flips"].value == pairs["positive_flips"].value
    assert swapped["mcnemar_p"].value == pairs["mcnemar_p"].value
    assert swapped["overconfidence_shift"].value == pytest.approx(-pairs["overconfidence_shift"].value)


def test_one_accuracy_may_hide_flips(flips):
    labels = np.zeros(100, dtype=np.int64)
    teacher, student = np.zeros((2, 100, CLASSES))
    teacher[:, 0] = teacher[:7, 1] = student[:, 0] = 1
    teacher[:7, 0], student[50:57] = 0, np.eye(CLASSES)[3]
    pairs = flips((teacher, student), labels)
    assert pairs["negative_flips"].value == pairs["positive_flips"].value == 0.07
    assert pairs["mcnemar_p"].value == 1
    assert pairs["worst_class_drop"].value == 0


def test_a_copy_flips_nothing(flips, drawn):
    logits, labels = drawn
    pairs = flips((logits[0], logits[0]), labels)
    assert {metric: pair.value for metric, pair in pairs.items()} == {**dict.fromkeys(FLIPS, 0), "mcnemar_p": 1}
    assert pairs["negative_flips"].interval.low == 0 < pairs["negative_flips"].interval.high


def test_the_worst_class_has_its_name_and_an_interval_for_all_classes(flips, drawn):
    logits, labels = drawn
    named = flips(logits, labels, Analyses(class_names=NAMES))["worst_class_drop"]
    numbered = flips(logits, labels)["worst_class_drop"]
    assert named.axes["class"] == NAMES[numbered.axes["class"]]
    of_class = labels == numbered.axes["class"]
    right = [z[of_class].argmax(axis=1) == numbered.axes["class"] for z in logits]
    counts = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()), int(of_class.sum())
    alone = statistics.paired_share_difference(*counts)
    assert named.interval.low < 100 * alone.low
    assert named.interval.high > 100 * alone.high


def test_a_class_without_samples_is_not_the_worst(flips, drawn):
    logits, labels = drawn
    kept = (labels != 0) & (labels != 3)
    worst = flips(logits[:, kept], labels[kept])["worst_class_drop"]
    assert worst.axes["class"] in {1, 2, 4}
    assert worst.n == (labels == worst.axes["class"]).sum()


def ece(probabilities, labels):
    """Guo et al. 2017, equation 3, one bin after the other."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    error = 0.0
    for m in range(1, 16):
        inside = (confidence > (m - 1) / 15) & (confidence <= m / 15)
        if inside.any():
            error += inside.sum() / len(labels) * abs(right[inside].mean() - confidence[inside].mean())
    return error


def test_calibration_shifts_by_their_definitions(flips, drawn):
    logits, labels = drawn
    pairs = flips(logits * [[[1.0]], [[3.0]]], labels)
    before, after = softmax(logits[0], axis=1), softmax(3 * logits[1], axis=1)
    shift = pairs["ece_shift"]
    assert shift.value == pytest.approx(100 * (ece(after, labels) - ece(before, labels)))
    assert shift.value > 5
    assert shift.interval is None
    over = [p.max(axis=1) - (p.argmax(axis=1) == labels) for p in (before, after)]
    grown = pairs["overconfidence_shift"]
    assert grown.value == pytest.approx(100 * (over[1].mean() - over[0].mean()))
    assert 0 < grown.interval.low < grown.value < grown.interval.high


def test_rounded_probabilities_have_calibration(flips, drawn):
    logits, labels = drawn
    rounded = np.rint(softmax(logits, axis=2) * 255) / 255
    before, after = (ece(p, labels) for p in rounded)
    pairs = flips(rounded, labels, form="rounded_probabilities")
    assert pairs["ece_shift"].value == pytest.approx(100 * (after - before))
    exact = flips(logits, labels)["overconfidence_shift"].value
    assert pairs["overconfidence_shift"].value == pytest.approx(exact, abs=2)  # equal ones may have another best class


def test_outputs_without_probabilities_flip_but_have_no_calibration(flips, drawn):
    logits, labels = drawn
    pairs = flips(logits, labels, form="scores")
    assert pairs["negative_flips"].value is not None
    for metric in ("ece_shift", "overconfidence_shift"):
        assert (pairs[metric].value, pairs[metric].status) == (None, "unavailable")
        assert "its values are not logits" in pairs[metric].reason
