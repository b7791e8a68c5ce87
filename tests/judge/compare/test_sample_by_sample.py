"""Accuracies and errors, compared sample by sample."""

import math

import numpy as np
import pytest
from judge.compare.small_runs import around, card, only, record

from kdbench.judge.compare.records import compare
from kdbench.results.records import Interval, measured


def scored(right, n=1000, sha="1", test_set="t", **more):
    """Return a record and its samples of a model that is right on the images of those numbers."""
    correct = np.isin(np.arange(n), list(right))
    share = float(correct.mean())
    z = 1.959964
    centre, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    wilson = Interval(low=(centre - half) / (1 + z * z / n), high=(centre + half) / (1 + z * z / n))
    measurement = measured("student", "top1", share, interval=wilson, n=n)
    return record(measurement, models=(card("student", sha),), test_set_sha256=test_set, **more), {
        "student/correct": correct
    }


def compared(base, new, *, samples=True, **options):
    kept = {"base_samples": base[1], "new_samples": new[1]} if samples else {}
    return only(compare(base[0], new[0], **kept, **options), "top1")


def test_accuracies_are_compared_image_by_image():
    base, new = scored(range(900)), scored(range(850), sha="2")
    row = compared(base, new)
    assert (row.outcome, row.way, row.n) == ("regressed", "paired", 1000)
    assert row.change == pytest.approx(-5)
    assert -7 < row.interval.low < row.interval.high < -3.5
    assert compared(new, base).outcome == "improved"


def test_without_the_samples_two_accuracies_are_independent():
    base, new = scored(range(900)), scored(range(890), sha="2")
    paired, apart = compared(base, new), compared(base, new, samples=False)
    assert (paired.way, apart.way) == ("paired", "separate")
    assert apart.change == pytest.approx(paired.change)
    assert apart.interval.high - apart.interval.low > 3 * (paired.interval.high - paired.interval.low)
    assert "samples.npz" in apart.remedy
    unsaid = scored(range(890), sha="2", test_set=None)
    assert compared(base, unsaid).remedy == "score more test images"  # the samples are there


def test_answers_that_are_the_same_are_the_same_however_few():
    row = compared(scored(range(90), n=100), scored(range(90), n=100, sha="2"))
    assert (row.outcome, row.change, row.interval) == ("same", 0, None)
    assert "exactly the same" in row.reason
    other = compared(scored(range(90), n=100), scored(range(1, 91), n=100, sha="2"))
    assert other.outcome == "inconclusive"


@pytest.mark.parametrize("new", [scored(range(900), test_set="u"), scored(range(900), n=1001)])
def test_accuracies_of_different_images_are_not_compared(new):
    row = compared(scored(range(900)), new)
    assert (row.outcome, row.way) == ("inconclusive", None)


def test_the_same_file_on_the_same_images_is_the_same():
    assert compared(scored(range(900)), scored(range(900)), samples=False).outcome == "same"


def test_errors_by_target_of_the_same_file_are_the_same():
    interval = {"interval": around(0.2, 0.05), "n": 1000}
    number = measured("student", "target_rmse", 0.2, axes={"target": "y0"}, **interval)
    made = record(number, models=(card("student", "1"),), test_set_sha256="t")
    assert only(compare(made, made, metrics=["target_rmse"]), "target_rmse").outcome == "same"


def test_samples_that_are_not_those_of_the_record_are_not_believed():
    base, new = scored(range(900)), scored(range(890), sha="2")
    assert compared(base, (new[0], scored(range(800))[1])).way == "separate"


def erring(errors, sha="1", *, test_set="t"):
    """A regression's record and the samples behind it, of the squared errors of a thousand samples."""
    squared = np.asarray(errors) ** 2
    number = measured("student", "rmse", squared.mean() ** 0.5, interval=around(squared.mean() ** 0.5, 0.05), n=1000)
    made = record(number, models=(card("student", sha),), test_set_sha256=test_set)
    return made, {"student/squared-error": squared}


class TestErrors:
    errors = np.random.default_rng(2).normal(size=1000)

    def compared(self, base, new, **options):
        kept = {"base_samples": base[1], "new_samples": new[1]}
        return only(compare(base[0], new[0], **{**kept, **options}), "rmse")

    def test_they_are_compared_sample_by_sample(self):
        worse = self.errors * 1.1 + 0.01 * np.random.default_rng(3).normal(size=1000)
        paired = self.compared(erring(self.errors), erring(worse, "2"))
        assert (paired.outcome, paired.way, paired.n) == ("regressed", "paired", 1000)
        assert paired.change == pytest.approx((worse**2).mean() ** 0.5 / (self.errors**2).mean() ** 0.5)
        apart = self.compared(erring(self.errors), erring(0.94 * worse, "2"), base_samples={}, new_samples={})
        assert (apart.outcome, apart.way) == ("inconclusive", "separate")
        assert apart.interval.high - apart.interval.low > 3 * (paired.interval.high - paired.interval.low)
        assert "samples.npz" in apart.remedy

    def test_the_same_errors_are_the_same(self):
        row = self.compared(erring(self.errors), erring(self.errors, "2"))
        assert (row.outcome, row.change, row.interval) == ("same", 1, None)

    def test_samples_of_another_record_are_not_believed(self):
        base, new = erring(self.errors), erring(self.errors * 1.1, "2")
        assert self.compared(base, (new[0], erring(self.errors * 1.2)[1])).way == "separate"

    def test_errors_on_other_data_are_not_compared(self):
        row = self.compared(erring(self.errors), erring(self.errors, "2", test_set="u"))
        assert (row.outcome, row.way) == ("inconclusive", None)
