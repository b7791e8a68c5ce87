import numpy as np
import pytest

from kdbench.evaluate.accuracy import judge
from kdbench.evaluate.findings import calibration_findings, class_findings, mismatch_findings
from kdbench.evaluate.plan import Analyses

# Ahad's toy of four classes: the student that is wrong has the smaller KL until logits are standardized. The last are
# 1 larger than there, lest they be taken for probabilities.
TEACHER, WRONG, RIGHT = [1, 4, 3, 2.0], [1, 2.8, 3, 2], [1.1, 1.4, 1.3, 1.2]
ANALYSES = Analyses(class_names=("cat", "dog", "bird", "fish"))


@pytest.fixture
def contrasted(tiny, subject):
    teacher, *students = (
        subject(tiny(name, classes=4), teacher=of) for name, of in (("t", None), ("kd", "t"), ("alone", "t"))
    )

    def run(rows, axes=None):
        """Return what is found of rows of (teacher's, kd's, alone's logits), the label being always 1: by its key."""
        labels = np.ones(len(rows), np.int64)
        logits = np.array(rows, dtype=np.float64).transpose(1, 0, 2)
        evaluations = {s.id: judge(z, labels) for s, z in zip((teacher, *students), logits, strict=True)}
        found = mismatch_findings(teacher, tuple(students), evaluations, labels, ANALYSES, axes)
        return {(m.model, m.metric, *m.axes.items()): m for m in found.measurements}

    return run


def test_a_mismatch_that_is_fixed_is_shown_as_an_example(contrasted):
    found = contrasted([(TEACHER, RIGHT, RIGHT), (TEACHER, WRONG, RIGHT), (TEACHER, RIGHT, WRONG)])
    counts = [
        found["kd", metric, ("beside", "alone")] for metric in ("mismatches", "mismatches_fixed", "mismatches_made")
    ]
    assert [(m.value, m.n) for m in counts] == [(2, 2), (2, 2), (0, 2)]
    where = ("sample", 1), ("class", "dog")  # the first of both
    told = {
        name: [
            round(found[name, metric, *where, ("beside", other)].value, 4)
            for metric in ("predictive_kl", "standardized_kl", "top1")
        ]
        for name, other in (("kd", "alone"), ("alone", "kd"))
    }
    assert told == {"kd": [0.1749, 0.1347, 0], "alone": [0.3457, 0, 1]}
    assert found["alone", "logit_spearman", *where, ("beside", "kd")].value == pytest.approx(1)
    assert found["kd", "logit_spearman", *where, ("beside", "alone")].value == pytest.approx(0.8)
    assert len(found) == 3 + 2 * 4


def test_there_is_no_example_without_a_mismatch_that_is_fixed_nor_of_training_images(contrasted):
    assert len(contrasted([(TEACHER, RIGHT, RIGHT)])) == 3
    found = contrasted([(TEACHER, WRONG, RIGHT)], {"part": "train"})
    assert [m.value for m in found.values()] == [1, 1, 0]
    assert all(m.axes == {"part": "train", "beside": "alone"} for m in found.values())


def test_a_calibration_error_has_no_interval(tiny, subject):
    labels = np.array([0, 1])
    (ece,) = calibration_findings(subject(tiny()), judge(np.eye(6)[:2] * 50, labels), labels).measurements
    assert (ece.value, ece.interval, ece.n) == (pytest.approx(0, abs=1e-9), None, 2)


def test_each_class_has_its_own_number_of_samples(tiny, subject):
    labels = np.array([0, 0, 2])
    found = class_findings(subject(tiny()), judge(np.eye(6)[[0, 1, 2]], labels), labels, ANALYSES).measurements
    assert [(m.axes["class"], m.value, m.n) for m in found] == [("cat", 0.5, 2), ("bird", 1, 1)]
    assert all(m.interval.low <= m.value <= m.interval.high for m in found)
