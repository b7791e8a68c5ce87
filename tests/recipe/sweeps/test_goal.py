"""The goal of a search as it is typed."""

import pytest

from kdbench.errors import InputError
from kdbench.recipe.sweeps.goal import goal_of
from kdbench.recipe.sweeps.search import Search


def test_a_goal_with_limits_units_models_and_axes():
    goal = goal_of("max top1 where latency_p50_ns <= 2 ms and size_bytes of kd-int8 < 20 kB and macs at batch=8 <= 3M")
    assert (goal.side, goal.number.metric, goal.number.model) == ("max", "top1", None)
    time, size, macs = goal.limits
    assert (time.side, time.value) == ("max", 2e6)
    assert (size.number.model, size.value) == ("kd-int8", 20_000)
    assert (macs.number.axes, macs.value) == ({"batch": 8}, 3e6)
    assert goal_of(str(goal)) == goal


@pytest.mark.parametrize(
    ("limit", "value", "text"),
    [
        ("latency_p50_ns <= 1.23456 ms", 1_234_560, "latency_p50_ns <= 1.23456 ms"),
        ("latency_p50_ns <= 999.96us", 999_960, "latency_p50_ns <= 999.96us"),
        ("latency_p50_ns <= 2000000", 2_000_000, "latency_p50_ns <= 2 ms"),
        ("size_bytes <= 123456", 123_456, "size_bytes <= 123456"),
        ("top1 >= 98.765 %", 0.98765, "top1 >= 98.765 %"),
        ("training_s <= 90 min", 5400, "training_s <= 90 min"),
        ("throughput_per_s >= 12,300", 12_300, "throughput_per_s >= 12,300 /s"),
        ("macs_ratio >= 10.126x", 10.126, "macs_ratio >= 10.126x"),
        ("latency_p50_ns at batch=8 threads=2 <= 2 ms", 2e6, "latency_p50_ns at batch=8, threads=2 <= 2 ms"),
    ],
)
def test_a_limit_is_written_so_that_it_reads_as_the_same_number(limit, value, text):
    goal = goal_of(f"max top1 where {limit}, macs <= 3M")
    assert [limit.value for limit in goal.limits] == [value, 3e6]
    assert str(goal) == f"max top1 where {text} and macs <= 3 M"
    assert goal_of(str(goal)) == goal
    assert goal_of(f"max top1 where macs <= 3M and {limit}").limits[1].value == value
    assert goal_of(Search(goal=str(goal)).goal) == goal


@pytest.mark.parametrize(
    ("text", "side", "value"),
    [("min latency_p50_ns where top1 >= 95 %", "min", 0.95), ("min size_bytes where latency_ratio ≥ 2x", "min", 2.0)],
)
def test_a_cost_may_be_the_goal_and_a_score_the_limit(text, side, value):
    (limit,) = goal_of(text).limits
    assert (limit.side, limit.value) == (side, value)


def test_an_excess_is_relative_to_the_limit():
    (most,) = goal_of("max top1 where size_bytes <= 20 kB").limits
    (least,) = goal_of("min size_bytes where top1 >= 80 %").limits
    assert most.excess(25_000) == pytest.approx(0.25)
    assert most.excess(10_000) < 0
    assert least.excess(0.6) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("top1", "does not begin with", "for example"),
        ("min top1", "improves when it gets higher", "write max top1"),
        ("max topp1", "unknown metric 'topp1'", "'top1'"),
        ("max top1 of kd extra", "is not METRIC", "for example"),
        ("max top1 at batch:3", "not AXIS=VALUE", "batch=8"),
        ("max top1 where", "is not a limit", "for example"),
        ("max top1 where latency_p50_ns", "is not a limit", "for example"),
        ("max top1 where latency_p50_ns <= 2 MB", "'MB' does not fit here; use one of ns", "for example"),
        ("max top1 where ece <= 2 %", "computed from the test part", "validation scores"),
        ("max top1 where top1_drop <= 1", "computed from the test part", "validation scores"),
        ("max top1 where size_bytes <= 1e999 kB", "too large", "for example"),
        ("max top1 where size_bytes <= -1", "size_bytes is at least 0", "for example"),
        ("min size_bytes where top1 >= 95", "top1 is at most 1", "top1 >= 95 %"),
        ("min size_bytes where top1 >= 950", "top1 is at most 1", "for example"),
    ],
)
def test_what_is_wrong_is_named(text, message, hint):
    with pytest.raises(InputError) as error:
        goal_of(text)
    assert message in error.value.message
    assert hint in error.value.hint
