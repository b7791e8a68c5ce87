"""Two models of one record, which ran in turns."""

import math

import pytest
from judge.compare.small_runs import AT, around, card, latency, record, speed_up

from kdbench.judge.compare.matching import Match
from kdbench.judge.compare.records import compare_matches
from kdbench.judge.compare.strategies import RecordPair
from kdbench.results.records import Interval, Pair, measured


def in_turns(joint, metric):
    """Return the row of the two models of a record that holds what was measured in turns."""
    (row,) = compare_matches(RecordPair(joint, joint, side_by_side=True), [Match(*joint.models)], [metric]).rows
    return row


def side_by_side(metric, base, new, **changes):
    """Return how two models of one record compare, as after measuring both."""
    joint = record(
        measured("old", metric, base, **changes),
        measured("new", metric, new, **changes),
        models=(card("old"), card("new", "1")),
    )
    return in_turns(joint, metric)


@pytest.mark.parametrize(
    ("metric", "pair", "outcome"),
    [
        ("latency_p50_ns", "latency_ratio", "regressed"),
        ("energy_j", "energy_ratio", "regressed"),
        ("max_throughput_per_s", "throughput_ratio", "regressed"),
    ],
)
def test_what_ran_in_turns_is_compared_by_its_ratio(metric, pair, outcome):
    low, high = 0.7, 0.9  # the new one is 0.8 times as good
    ratio = Pair(
        metric=pair, teacher="old", student="new", axes=AT, value=0.8, interval=Interval(low=low, high=high), n=9
    )
    alike = [measured(model, metric, 5.0, axes=AT, interval=around(5.0, 0.3)) for model in ("old", "new")]
    joint = record(*alike, models=(card("old"), card("new", "1")), pairs=(ratio,))
    row = in_turns(joint, metric)
    times = (0.8, 0.7, 0.9) if metric == "max_throughput_per_s" else (1 / 0.8, 1 / 0.9, 1 / 0.7)
    assert (row.outcome, row.way) == (outcome, "paired")
    assert (row.change, row.interval.low, row.interval.high) == pytest.approx(times)


def test_what_ran_in_turns_without_a_ratio_to_rely_on_is_inconclusive():
    alike = [latency(model, 1000.0) for model in ("old", "new")]
    ratio = speed_up(1.0, teacher="old", student="new").model_copy(update={"evidence": "estimated"})
    joint = record(*alike, models=(card("old"), card("new", "1")), pairs=(ratio,))
    row = in_turns(joint, "latency_p50_ns")
    assert (row.outcome, row.reason) == ("inconclusive", "estimated, not measured")


def test_of_one_run_only_what_it_shows_itself_counts():
    two = [
        measured(
            model, "latency_p95_ns", 1000.0, axes=AT, interval=around(1000.0, 0.3), within_run=around(1000.0, 0.01)
        )
        for model in ("old", "new")
    ]
    joint = record(*two, models=(card("old"), card("new", "1")))
    row = in_turns(joint, "latency_p95_ns")
    assert row.interval.high == pytest.approx(math.exp(math.sqrt(2) * 0.01), rel=0.002)


def test_memory_measured_again_has_no_other_remedy_than_a_threshold():
    row = side_by_side("peak_memory_bytes", 5e7, 5.2e7, axes=AT)
    assert (row.outcome, row.way) == ("inconclusive", "paired")
    assert "--threshold" in row.remedy


def test_only_top1_is_compared_image_by_image():
    row = side_by_side("top5", 0.95, 0.95, interval=Interval(low=0.9, high=0.98), n=100)
    assert (row.outcome, row.way, row.remedy) == ("inconclusive", "separate", "score more test images")
