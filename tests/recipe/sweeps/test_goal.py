"""The goal of a search as it is typed."""

import pytest

from kdbench.errors import InputError
from kdbench.recipe.sweeps.goal import goal_of


def test_a_goal_with_limits_units_models_and_axes():
    goal = goal_of("max top1 where latency_p50_ns <= 2 ms and size_bytes of kd-int8 < 20 kB and macs at batch=8 <= 3M")
    assert (goal.side, goal.number.metric, goal.number.model) == ("max", "top1", None)
    time, size, macs = goal.limits
    assert (time.side, time.value) == ("max", 2e6)
    assert (size.number.model, size.value) == ("kd-int8", 20_000)
    assert (macs.number.axes, macs.value) == ({"batch": 8}, 3e6)
    assert goal_of(str(goal)) == goal


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
    ],
)
def test_what_is_wrong_is_named(text, message, hint):
    with pytest.raises(InputError) as error:
        goal_of(text)
    assert message in error.value.message
    assert hint in error.value.hint
