"""Numbers compared without a model that both records share: counted, stored times, memory."""

import math

import numpy as np
import pytest
from judge.compare.small_runs import AT, around, both, card, latency, only, record

from kdbench.judge.compare.records import compare
from kdbench.report.text.comparison import change_text
from kdbench.results.records import Interval, measured


@pytest.mark.parametrize(
    ("new", "outcome"),
    [(1000, "same"), (995, "same"), (1009, "same"), (1010, "same"), (1011, "regressed"), (980, "improved")],
)
def test_what_is_counted_has_no_uncertainty(new, outcome):
    base, after = (record(measured("student", "size_bytes", size)) for size in (1000, new))
    row = only(compare(base, after), "size_bytes")
    assert (row.outcome, row.way, row.interval) == (outcome, "exact", None)
    assert row.change == new / 1000


def test_machines_that_do_not_say_what_they_are_may_be_two():
    base, new = (record(latency("student", 1000.0), host={}) for _ in range(2))
    row = only(compare(base, new))
    assert (row.outcome, row.reason) == ("inconclusive", "measured on another machine: the processor is not known")


@pytest.mark.parametrize(("new", "outcome"), [(1000, "inconclusive"), (1080, "inconclusive"), (1200, "regressed")])
def test_stored_times_are_as_uncertain_as_the_machine_moves_between_runs(new, outcome):
    base, after = (
        record(latency("student", ns), models=(card("student", sha),)) for ns, sha in ((1000, "1"), (new, "2"))
    )
    row = only(compare(base, after))
    assert (row.outcome, row.way) == (outcome, "separate")
    half = math.hypot(math.log(1.005), math.log(1.005), 1.959964 * 0.04, 1.959964 * 0.04)
    assert row.interval.high == pytest.approx(row.change * math.exp(half))
    if outcome == "inconclusive":
        assert "--remeasure" in row.remedy


@pytest.mark.parametrize(("new", "outcome"), [(5.1e7, "same"), (5.3e7, "regressed"), (5.2e7, "inconclusive")])
def test_memory_repeats_within_a_per_cent(new, outcome):
    base, after = (
        record(measured("student", "peak_memory_bytes", value, axes=AT, n=3), models=(card("student", sha),))
        for value, sha in ((5e7, "1"), (new + 1.5e6 * (outcome == "regressed"), "2"))
    )
    row = only(compare(base, after), "peak_memory_bytes")
    assert row.outcome == outcome
    assert row.interval.high == pytest.approx(row.change * 1.01 / 0.99)


def test_unstable_numbers_and_ratios_are_compared_by_their_intervals():
    shaky = {"status": "unstable", "reason": "sessions differ by 31 %"}
    base, new = both(1000.0, 2000.0, 5.0, 2.5)
    unsure = new.model_copy(
        update={
            "measurements": tuple(m.model_copy(update=shaky) for m in new.measurements),
            "pairs": tuple(pair.model_copy(update=shaky) for pair in new.pairs),
        }
    )
    assert only(compare(base, unsure)) == only(compare(base, new))


def test_what_runs_differ_by_is_counted_once():
    """Widened intervals need no more; those of one run get the metric's `run_to_run`, of two runs each."""
    narrow, wide = around(1000.0, 0.001), around(1000.0, 0.3)
    plain, widened = (
        record(measured("student", "latency_p50_ns", 1000.0, axes=AT, interval=interval, within_run=within))
        for interval, within in ((narrow, None), (wide, narrow))
    )
    row = only(compare(plain, plain.model_copy(update={"models": (card("student", "1"),)})))
    assert math.log(row.interval.high) == pytest.approx(1.96 * math.sqrt(2) * 0.04, rel=0.02)
    row = only(compare(widened, widened.model_copy(update={"models": (card("student", "1"),)})))
    assert math.log(row.interval.high) == pytest.approx(math.log(1.3) * math.sqrt(2), rel=0.3)


def test_stored_times_alone_seldom_raise_a_false_alarm():
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(1000):
        base, new = (
            record(latency("student", 1000 * math.exp(rng.normal(0, 0.04))), models=(card("student", sha),))
            for sha in ("1", "2")
        )
        alarms += compare(base, new).overall == "regressed"
    assert alarms <= 0.04 * 1000


MODELS = ("student", "alone")


@pytest.mark.parametrize(
    ("new", "outcome"), [(-0.4, "regressed"), (1.5, "improved"), (0.65, "same"), (0.1, "inconclusive")]
)
def test_gains_are_compared_by_their_difference_in_points_also_where_they_are_about_zero(new, outcome):
    base, after = (
        record(
            measured(
                "student", "top1_gain", gain, axes={"beside": "alone"}, n=360,
                interval=Interval(low=gain - 0.3, high=gain + 0.3),
            ),
            models=(card("student", sha), card("alone", "3")),
        )
        for gain, sha in ((0.6, "1"), (new, "2"))
    )  # fmt: skip
    row = only(compare(base, after, metrics=["top1_gain"]), "top1_gain")
    half = math.hypot(0.3, 0.3)
    assert (row.outcome, row.threshold, row.in_points) == (outcome, 0.5, True)
    assert row.change == pytest.approx(new - 0.6)
    assert (row.interval.low, row.interval.high) == pytest.approx((new - 0.6 - half, new - 0.6 + half))
    assert change_text(row).startswith(f"{new - 0.6:+.2f} points [")


def test_gains_over_a_model_that_has_another_id_in_a_run_of_several_seeds_are_compared():
    def with_gain(gain, sha, seed, suffix):
        cards = [card(f"{name}{suffix}", sha).model_copy(update={"name": name, "seed": seed}) for name in MODELS]
        student, alone = (one.id for one in cards)
        interval = Interval(low=gain - 0.3, high=gain + 0.3)
        return measured(student, "top1_gain", gain, axes={"beside": alone}, n=360, interval=interval), cards

    base_gain, base_cards = with_gain(0.6, "1", 0, "")
    gains, cards = zip(*(with_gain(0.1 + seed, str(2 + seed), seed, f"-seed{seed}") for seed in (0, 1)), strict=True)
    comparison = compare(
        record(base_gain, models=tuple(base_cards)), record(*gains, models=sum(map(tuple, cards), ())),
        metrics=["top1_gain"],
    )  # fmt: skip
    (row,) = (row for row in comparison.rows if row.new_model == "student-seed0")
    assert row.change == pytest.approx(-0.5)
    assert row.axes == {"beside": "alone-seed0"}
    assert not any("only" in note for note in comparison.notes)
