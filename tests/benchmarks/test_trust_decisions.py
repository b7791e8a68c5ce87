"""The table of verdicts, from figures made up for the test."""

import math

from benchmarks.trust.tables import decisions_table

TEACHER, STUDENT = "resnet56", "resnet20"


def estimate(value, half):
    return {"value": value, "low": value * math.exp(-half), "high": value * math.exp(half)}


def repeat(condition, number, half, mean=1.0):
    """Return a repeat whose p50 is 4 ms and 1 ms but for a little, and whose means are `mean` times as long."""
    off = 1.02 if number % 2 else 1 / 1.02
    means = {TEACHER: {"mean_ns": 4e6 * mean}, STUDENT: {"mean_ns": 1e6 * mean}}
    return {
        "pair": "conv",
        "condition": condition,
        "commit": "abc",
        "p50_ns": {TEACHER: estimate(4e6 * off, half), STUDENT: estimate(1e6 * off, half)},
        "ratio": estimate(4.0, 0.05),
        "naive": means,
        "pytest-benchmark": means,
    }


def section(*repeats):
    settings, host = {"budget_s": 10.0, "hours": 2.0}, {"cpu": "a processor", "cores_usable": 2}
    return decisions_table.section({"repeats": repeats, "settings": settings, "environment": {"host": host}})


def cells(text, name):
    return [line.split(" | ")[1:] for line in text.splitlines() if line.startswith(f"| {name}")]


def test_narrow_intervals_hold_and_decide():
    text = section(*(repeat("idle", number, 0.1) for number in range(4)))
    assert cells(text, "resnet56, p50")[0][2:] == ["4 of 4", "10 %", "met |"]
    (kdbench,) = cells(text, "kdbench")
    assert kdbench[:3] == ["16 of 16", "0", "4 of 4"]


def test_intervals_wider_than_the_margin_decide_nothing_and_are_never_wrong():
    text = section(*(repeat("idle", number, 0.3) for number in range(4)))
    (kdbench,) = cells(text, "kdbench")
    assert kdbench[:2] == ["0 of 16", "0"]


def test_intervals_that_miss_are_counted():
    text = section(*(repeat("idle", number, 0.001) for number in range(4)))
    assert cells(text, "resnet56, p50")[0][2:] == ["0 of 4", "0.10 %", "**missed** |"]


def test_a_mean_that_jumps_is_wrong_without_an_interval_and_a_false_alarm():
    # Means of 1, 1, 1 and 2 have a long-run value of 2^¼: the last one is above the upper limit, 1.25 times that.
    calm = [repeat("bursts", number, 0.1) for number in range(3)]
    text = section(*calm, repeat("bursts", 3, 0.1, mean=2.0))
    (naive,) = cells(text, "naive mean")
    assert naive[:3] == ["14 of 16", "2", "4 of 4"]
    (rival,) = cells(text, "pytest-benchmark mean")
    assert rival == ["14 of 16", "2", "4 of 4", "1 of 3 |"]
    assert "### bursts" in text
    assert "### idle" not in text
