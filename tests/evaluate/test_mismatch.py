import numpy as np
import pytest

from kdbench.evaluate.divergence import kl_divergences, log_softmax
from kdbench.evaluate.mismatch import mismatches
from kdbench.evaluate.standardization import standardized_kl

# The four classes of Ahad's toy: the teacher sees class 1, student A class 2, student B class 1.
TEACHER, WRONG, RIGHT = (np.log(np.exp(z) / np.exp(z).sum()) for z in map(np.array, (
    [[1, 4, 3, 2.0]], [[1, 2.8, 3, 2]], [[0.1, 0.4, 0.3, 0.2]],
)))  # fmt: skip


@pytest.mark.parametrize("students", [(WRONG, RIGHT), (RIGHT, WRONG)])
def test_the_toy_is_a_mismatch_that_standardization_fixes(students):
    found = mismatches(TEACHER, students, np.array([1]))
    assert found.contested.tolist() == [0]
    assert found.before.tolist() == [True]
    assert found.fixed.tolist() == [0]
    assert found.made.tolist() == []


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
    teacher = log_softmax(np.array([[2.0, 1.9, 0.0, -2.0]]))
    a, b = log_softmax(np.array([[6.0, 6.3, 0.0, -6.0]])), log_softmax(np.array([[2.0, 1.0, -0.5, 0.5]]))
    found = mismatches(teacher, (a, b), np.array([0]))
    assert kl_divergences(teacher, b) < kl_divergences(teacher, a)
    assert standardized_kl(teacher, b) > standardized_kl(teacher, a)
    assert (found.before.tolist(), found.made.tolist(), found.fixed.tolist()) == ([False], [0], [])


def test_counts_against_a_loop():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 5, 400)
    teacher, one, other = (log_softmax(z) for z in rng.normal(0, [[[3]], [[2]], [[0.5]]], (3, 400, 5)))
    found = mismatches(teacher, (one, other), labels, "unbiased")
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
    assert found.contested.tolist() == contested
    assert found.before.tolist() == before
    assert found.after.tolist() == after
    assert 0 < len(found.fixed) < sum(before)
    assert len(found.made) > 0
