"""The one rule: a limit is met where the whole interval keeps to it, and by nothing that cannot be relied on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.judge.limits import bounds_of, check_limit
from kdbench.results.records import Interval, Measurement, Pair, measured, missing

AXES = {"provider": "cpu", "threads": 1, "batch": 1}
numbers = st.floats(min_value=1e-3, max_value=1e12)
sides = st.sampled_from(["max", "min"])
VALUED = ["latency_p50_ns", "energy_j", "top1", "size_bytes", "peak_memory_bytes"]


def latency(value: float, low: float, high: float, **changes) -> Measurement:
    return measured("m", "latency_p50_ns", value, axes=AXES, interval=Interval(low=low, high=high), **changes)


def top1(value: float, low: float, high: float, n: int = 1000) -> Measurement:
    return measured("m", "top1", value, interval=Interval(low=low, high=high), n=n)


@st.composite
def latencies(draw) -> Measurement:
    low, value, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    return latency(value, low, high)


@pytest.mark.parametrize(
    ("side", "limit", "outcome"),
    [
        ("max", 12.0, "PASS"),
        ("max", 11.0, "PASS"),
        ("max", 10.9, "MARGINAL"),
        ("max", 10.0, "MARGINAL"),
        ("max", 9.0, "MARGINAL"),
        ("max", 8.9, "FAIL"),
        ("min", 8.0, "PASS"),
        ("min", 9.0, "PASS"),
        ("min", 9.1, "MARGINAL"),
        ("min", 11.0, "MARGINAL"),
        ("min", 11.1, "FAIL"),
    ],
)
def test_the_interval_decides(side, limit, outcome):
    assert check_limit(latency(10, 9, 11), side, limit).outcome == outcome


@given(latencies(), sides, numbers)
def test_a_pass_is_whole_a_fail_is_whole_and_all_else_is_marginal(finding, side, limit):
    inside = [
        (bound <= limit) if side == "max" else (bound >= limit)
        for bound in (finding.interval.low, finding.interval.high)
    ]
    expected = "PASS" if all(inside) else "MARGINAL"
    beyond = [
        (bound > limit) if side == "max" else (bound < limit) for bound in (finding.interval.low, finding.interval.high)
    ]
    assert check_limit(finding, side, limit).outcome == ("FAIL" if all(beyond) else expected)


@given(latencies(), sides, numbers, numbers)
def test_a_looser_limit_is_never_met_worse(finding, side, one, other):
    tight, loose = sorted((one, other), reverse=side == "min")
    order = ["FAIL", "MARGINAL", "PASS"]
    outcomes = [order.index(check_limit(finding, side, limit).outcome) for limit in (tight, loose)]
    assert outcomes == sorted(outcomes)


@given(
    st.sampled_from(VALUED), sides, numbers, st.sampled_from(["unavailable", "invalid", "error", "below_resolution"])
)
def test_nothing_that_is_missing_meets_a_limit(metric, side, limit, status):
    finding = missing("m", metric, "no meter", status=status, hint="plug one in", axes=AXES)
    check = check_limit(finding, side, limit, weakest="estimated")
    assert (check.outcome, check.reason, check.remedy) == ("UNKNOWN", "no meter", "plug one in")


@given(latencies(), sides, numbers)
def test_an_unstable_number_is_judged_by_its_interval_like_any_other(finding, side, limit):
    shaky = latency(finding.value, finding.interval.low, finding.interval.high, unstable="sessions disagree")
    assert check_limit(shaky, side, limit) == check_limit(finding, side, limit)


@pytest.mark.parametrize("metric", ["latency_p50_ns", "peak_memory_bytes"])
def test_an_unstable_number_without_an_interval_meets_no_limit_however_well_its_metric_repeats(metric):
    check = check_limit(measured("m", metric, 1.0, axes=AXES, unstable="sessions disagree"), "max", 1e12)
    assert check.outcome == "UNKNOWN"


def test_what_settles_a_limit_that_only_other_runs_could_reach_is_another_run():
    wide, narrow = Interval(low=0.8, high=1.2), Interval(low=0.99, high=1.01)
    near = measured("m", "latency_p50_ns", 1.0, axes=AXES, interval=wide, within_run=narrow)
    assert "again" in check_limit(near, "max", 1.1).remedy
    assert "--budget" in check_limit(near, "max", 1.005).remedy


@given(st.sampled_from(VALUED), sides, numbers, st.sampled_from(["estimated", "modelled"]))
def test_no_estimate_meets_a_limit_that_wants_a_measurement(metric, side, limit, evidence):
    finding = measured("m", metric, 0.5, axes=AXES, evidence=evidence)
    check = check_limit(finding, side, limit)
    assert check.outcome == "UNKNOWN"
    assert check.reason == f"{evidence}, not measured"


def test_an_estimate_counts_where_it_is_asked_for():
    finding = measured("m", "energy_j", 0.5, axes=AXES, evidence="estimated")
    assert check_limit(finding, "max", 1.0, weakest="estimated").outcome == "PASS"
    assert check_limit(finding, "max", 0.4, weakest="estimated").outcome == "FAIL"
    assert check_limit(finding, "max", 1.0, weakest="modelled").outcome == "UNKNOWN"


@pytest.mark.parametrize(
    ("metric", "remedy"),
    [
        ("latency_p50_ns", "measure in more sessions"),
        ("training_s", "measure in more sessions"),
        ("top1", "choose a metric with an interval"),
        ("ece", "choose a metric with an interval"),
    ],
)
def test_a_sampled_number_without_an_interval_proves_nothing(metric, remedy):
    check = check_limit(measured("m", metric, 0.5), "max", 1e9)
    assert check.outcome == "UNKNOWN"
    assert "without an interval" in check.reason
    assert check.remedy == remedy


def test_a_counted_number_is_its_own_interval_and_meets_the_limit_it_equals():
    finding = measured("m", "size_bytes", 5e6)
    assert bounds_of(finding) == Interval(low=5e6, high=5e6)
    assert [check_limit(finding, "max", limit).outcome for limit in (5e6, 5e6 - 1)] == ["PASS", "FAIL"]
    assert check_limit(finding, "max", 5e6 - 1).reason == "5,000,000 B misses the limit of at most 4,999,999 B"


def test_memory_is_known_to_a_percent():
    finding = measured("m", "peak_memory_bytes", 100e6, axes=AXES)
    assert [check_limit(finding, "max", limit).outcome for limit in (102e6, 100.5e6, 98e6)] == [
        "PASS",
        "MARGINAL",
        "FAIL",
    ]
    assert "leave a larger margin" in check_limit(finding, "max", 100.5e6).remedy


@pytest.mark.parametrize(
    ("finding", "side", "limit", "distance"),
    [
        (latency(12.2e6, 12e6, 12.4e6), "max", 10e6, "22 % too slow"),
        (latency(10.02e6, 10.01e6, 10.03e6), "max", 10e6, "0.20 % too slow"),
        (latency(68e6, 67e6, 69e6), "max", 10e6, "6.8 times the limit"),
        (measured("m", "size_bytes", 6e6), "max", 5e6, "20 % too large"),
        (measured("m", "macs", 6e6), "max", 5e6, "20 % too many"),
        (top1(0.837, 0.83, 0.845), "min", 0.85, "1.30 points short"),
        (Pair(metric="top1_drop", teacher="t", student="s", value=2.5, interval=Interval(low=2, high=3)), "max", 1,
         "1.50 points over"),
        (Pair(metric="size_ratio", teacher="t", student="s", value=3), "min", 4, "25 % too low"),
        (measured("m", "size_bytes", 6e6), "max", 0, "6.00 MB too large"),
    ],
)  # fmt: skip
def test_a_fail_says_how_far_it_is(finding, side, limit, distance):
    check = check_limit(finding, side, limit)
    assert (check.outcome, check.remedy) == ("FAIL", distance)


def test_a_marginal_accuracy_says_how_many_samples_would_settle_it():
    # The half-width of a share's interval falls with the root of n: three times as narrow takes nine times as many.
    check = check_limit(top1(0.86, 0.83, 0.89), "min", 0.85)
    assert check.outcome == "MARGINAL"
    assert check.remedy == "about 9,000 test samples would settle it, instead of 1,000"


def test_a_marginal_number_on_the_wrong_side_is_called_so():
    check = check_limit(top1(0.84, 0.81, 0.86), "min", 0.85)
    assert check.remedy == (
        "the number itself is 1.00 points short; about 4,000 test samples would settle it, instead of 1,000"
    )


def test_a_marginal_latency_wants_a_narrower_interval():
    check = check_limit(latency(10e6, 9e6, 11e6), "max", 10.5e6)
    assert "--budget" in check.remedy
    assert "2.0 times narrower" in check.remedy


def test_the_interval_of_a_time_narrows_on_the_logarithm():
    # 50 is 2.5 times 20, and the limit 1.25 times: log(2.5) / log(1.25) = 4.106.
    check = check_limit(latency(20e6, 8e6, 50e6), "max", 25e6)
    assert "4.2 times narrower" in check.remedy
    throughput = measured("m", "throughput_per_s", 50_000, axes=AXES, interval=Interval(low=0.5, high=5e9))
    assert "2.5 times narrower" in check_limit(throughput, "min", 500).remedy


def test_ends_of_an_interval_that_say_nothing_have_no_digits():
    assert "the interval [0, ∞] straddles" in check_limit(latency(20e6, 1e-9, 1e21), "max", 25e6).reason


def test_what_is_needed_is_more_than_there_is():
    check = check_limit(latency(10e6, 9.49e6, 10.51e6), "max", 10.5e6)
    assert "1.1 times narrower" in check.remedy
    assert check_limit(top1(0.86, 0.8499, 0.8701), "min", 0.85).remedy.startswith("about 1,100 test samples")


@pytest.mark.parametrize("limit", [0.86, 0.860001])
def test_what_no_number_of_samples_would_settle_is_not_promised(limit):
    assert "too close to the limit" in check_limit(top1(0.86, 0.83, 0.89), "min", limit).remedy
