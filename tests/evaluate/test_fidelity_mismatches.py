import numpy as np
import pytest
from scipy.special import log_softmax

from kdbench.evaluate.fidelity import kl_divergences, mismatch_measurements, mismatches, standardized_kl
from kdbench.evaluate.predictions import Analyses, Predictions

# The four classes of Ahad's toy: the teacher sees class 1, student A class 2, student B class 1.
TEACHER, WRONG, RIGHT = (np.log(np.exp(z) / np.exp(z).sum()) for z in map(np.array, (
    [[1, 4, 3, 2.0]], [[1, 2.8, 3, 2]], [[0.1, 0.4, 0.3, 0.2]],
)))  # fmt: skip


@pytest.mark.parametrize("students", [(WRONG, RIGHT), (RIGHT, WRONG)])
def test_the_toy_is_a_mismatch_that_standardization_fixes(students):
    result = mismatches(TEACHER, students, np.array([1]))
    assert result.contested.tolist() == [0]
    assert result.before.tolist() == [True]
    assert result.fixed.tolist() == [0]
    assert result.made.tolist() == []


@pytest.mark.parametrize(
    ("teacher", "students", "label"),
    [
        (TEACHER, (WRONG, RIGHT), 3),  # everybody is wrong
        (TEACHER, (RIGHT, RIGHT), 1),  # both are right
        (TEACHER, (WRONG, RIGHT), 2),  # the student that is right has left a teacher that is wrong
    ],
)
def test_what_is_not_contested(teacher, students, label):
    assert len(mismatches(teacher, students, np.array([label])).contested) == 0


def test_standardization_may_make_mismatches_too():
    # B is right and of the teacher's size, but in another order; A is wrong in one class alone, and large.
    teacher = log_softmax(np.array([[2.0, 1.9, 0.0, -2.0]]), 1)
    a, b = (log_softmax(np.array([z]), 1) for z in ([6.0, 6.3, 0.0, -6.0], [2.0, 1.0, -0.5, 0.5]))
    result = mismatches(teacher, (a, b), np.array([0]))
    assert kl_divergences(teacher, b) < kl_divergences(teacher, a)
    assert standardized_kl(teacher, b) > standardized_kl(teacher, a)
    assert (result.before.tolist(), result.made.tolist(), result.fixed.tolist()) == ([False], [0], [])


def test_counts_against_a_loop():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 5, 400)
    teacher, one, other = (log_softmax(z, 1) for z in rng.normal(0, [[[3]], [[2]], [[0.5]]], (3, 400, 5)))
    result = mismatches(teacher, (one, other), labels, "unbiased")
    contested, before, after = [], [], []
    for i, label in enumerate(labels):
        right = [values[i].argmax() == label for values in (one, other)]
        if teacher[i].argmax() != label or right[0] == right[1]:
            continue
        good, bad = (one, other) if right[0] else (other, one)
        contested.append(i)
        t, g, b = (values[[i]] for values in (teacher, good, bad))
        before.append(bool(kl_divergences(t, g) > kl_divergences(t, b)))
        after.append(bool(standardized_kl(t, g, "unbiased") > standardized_kl(t, b, "unbiased")))
    assert result.contested.tolist() == contested
    assert result.before.tolist() == before
    assert result.after.tolist() == after
    assert 0 < len(result.fixed) < sum(before)
    assert len(result.made) == sum(a and not b for a, b in zip(after, before, strict=True)) > 0


# Ahad's toy of four classes: the student that is wrong has the smaller KL until logits are standardized. The last are
# 1 larger than there, lest they be taken for probabilities.
T, W, R = [1, 4, 3, 2.0], [1, 2.8, 3, 2], [1.1, 1.4, 1.3, 1.2]
ANALYSES = Analyses(class_names=("cat", "dog", "bird", "fish"))


@pytest.fixture
def contrasted(tiny, bench_model):
    cards = [
        bench_model(tiny(name, classes=4), teacher=of).card for name, of in (("t", None), ("kd", "t"), ("alone", "t"))
    ]

    def run(rows, axes=None):
        """Return the measurements, by key, of rows of (teacher's, kd's, alone's logits); the label is always 1."""
        labels = np.ones(len(rows), np.int64)
        logits = np.array(rows, dtype=np.float64).transpose(1, 0, 2)
        teacher, *students = (Predictions.of(card, z, labels) for card, z in zip(cards, logits, strict=True))
        measurements = mismatch_measurements(teacher, tuple(students), labels, ANALYSES, axes)
        return {(m.model, m.metric, *m.axes.items()): m for m in measurements}

    return run


def test_a_mismatch_that_is_fixed_is_shown_as_an_example(contrasted):
    result = contrasted([(T, R, R), (T, W, R), (T, R, W)])
    counts = [
        result["kd", metric, ("beside", "alone")] for metric in ("mismatches", "mismatches_fixed", "mismatches_made")
    ]
    assert [(m.value, m.n) for m in counts] == [(2, 2), (2, 2), (0, 2)]
    where = ("sample", 1), ("class", "dog")  # the first of both
    examples = {
        name: [
            round(result[name, metric, *where, ("beside", other)].value, 4)
            for metric in ("predictive_kl", "standardized_kl", "top1")
        ]
        for name, other in (("kd", "alone"), ("alone", "kd"))
    }
    assert examples == {"kd": [0.1749, 0.1347, 0], "alone": [0.3457, 0, 1]}
    assert result["alone", "logit_spearman", *where, ("beside", "kd")].value == pytest.approx(1)
    assert result["kd", "logit_spearman", *where, ("beside", "alone")].value == pytest.approx(0.8)
    assert len(result) == 3 + 2 * 4


def test_there_is_no_example_without_a_mismatch_that_is_fixed_nor_of_training_images(contrasted):
    assert len(contrasted([(T, R, R)])) == 3
    result = contrasted([(T, W, R)], {"part": "train"})
    assert [m.value for m in result.values()] == [1, 1, 0]
    assert all(m.axes == {"part": "train", "beside": "alone"} for m in result.values())
