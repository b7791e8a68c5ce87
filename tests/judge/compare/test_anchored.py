"""Models compared beside one that is the same in both records."""

import math

import numpy as np
import pytest
from judge.compare.small_runs import AT, HOST, around, both, card, latency, only, record, speed_up

from kdbench.judge.compare.matching import other_runtime
from kdbench.judge.compare.records import compare
from kdbench.results.records import Environment, Interval, measured


@pytest.mark.parametrize(
    ("ratio", "half", "outcome"),
    [
        (5.0, 0.01, "same"),
        (5.0 / 1.2, 0.01, "regressed"),
        (5.0 * 1.2, 0.01, "improved"),
        (5.0, 0.05, "inconclusive"),  # may be 7 % slower
        (5.0 / 1.06, 0.02, "regressed"),
        (5.0 / 1.06, 0.05, "inconclusive"),  # 6 % slower, give or take 7 %
        (5.0 / 1.03, 0.005, "same"),  # significant, and small
        (5.0 / 1.045, 0.01, "inconclusive"),  # significant, and perhaps large
    ],
)
def test_a_model_beside_one_that_is_the_same_in_both(ratio, half, outcome):
    row = only(compare(*both(1000.0, 1000.0, 5.0, ratio, half)))
    assert (row.outcome, row.way, row.anchor) == (outcome, "anchored", "teacher")
    assert row.change == pytest.approx(5.0 / ratio)
    assert math.log(row.interval.high / row.change) == pytest.approx(math.sqrt(2) * math.log(1 + half))
    assert bool(row.reason) == (outcome == "inconclusive")


@pytest.mark.parametrize("low", [0.0, -0.5])
def test_an_interval_that_includes_zero_has_no_ratio(low):
    """A record from elsewhere may hold one: it has no logarithm."""
    base, new = both(100, 130, 3.0, 2.5)
    none = Interval(low=low, high=9.0)
    pairs = (new.pairs[0].model_copy(update={"interval": none}),)
    anchored = compare(base, new.model_copy(update={"pairs": pairs}))
    assert only(anchored).outcome == "inconclusive"
    alone = [record(latency("student", 0.0), models=(card("student", sha),)) for sha in "12"]
    assert only(compare(*alone)).outcome == "inconclusive"


def test_what_the_machine_did_between_two_runs_cancels():
    comparison = compare(*both(1000.0, 1400.0, 5.0, 5.0))
    assert {row.outcome for row in comparison.rows} == {"same"}
    assert comparison.overall == "same"
    assert "the state of the machine differed" in comparison.notes[0]
    assert only(comparison, model="teacher").way == "anchored"


def test_a_ratio_is_sound_where_the_sessions_of_its_models_differ():
    base, new = both(1000.0, 1000.0, 5.0, 4.0)
    shaky = [latency("teacher", 5000.0), latency("student", 1250.0, unstable="sessions differ by 31 %")]
    row = only(compare(base, new.model_copy(update={"measurements": tuple(shaky)})))
    assert (row.outcome, row.way) == ("regressed", "anchored")


def test_another_driver_of_a_gpu_may_be_the_cause_so_nothing_is_anchored():
    at = {**AT, "provider": "cuda"}

    def record_on(sha, driver):
        measurement = measured("student", "latency_p50_ns", 1000.0, axes=at, interval=around(1000.0, 0.005))
        cards = (card("teacher", "a", "teacher"), card("student", sha))
        ratio = speed_up(5.0).model_copy(update={"axes": at})
        return record(measurement, models=cards, pairs=(ratio,), host={**HOST, "gpu_driver": driver})

    assert only(compare(record_on("1", "570.1"), record_on("2", "570.1"))).way == "anchored"
    assert only(compare(record_on("1", "570.1"), record_on("2", "580.2"))).way == "separate"


@pytest.mark.parametrize(
    "changes",
    [{"evidence": "estimated"}, {"interval": None}, {"axes": {**AT, "batch": 128}}],
    ids=["estimated", "without an interval", "at other axes"],
)
def test_a_ratio_that_cannot_be_relied_on_anchors_nothing(changes):
    base, new = both(1000.0, 1000.0, 5.0, 5.0)
    weak = new.model_copy(update={"pairs": (new.pairs[0].model_copy(update=changes),)})
    assert only(compare(base, weak)).way == only(compare(weak, base)).way == "separate"


def test_a_retrained_teacher_is_compared_beside_its_student():
    base, new = (
        record(
            latency("teacher", 5000.0),
            latency("student", 1000.0),
            models=(card("teacher", sha, "teacher"), card("student", "1")),
            pairs=(speed_up(ratio),),
        )
        for sha, ratio in (("a", 5.0), ("b", 6.0))
    )
    row = only(compare(base, new), model="teacher")
    assert (row.outcome, row.anchor) == ("regressed", "student")
    assert row.change == pytest.approx(1.2)


def test_a_throughput_beside_another_model_gets_better_upwards():
    at = {"provider": "cpu", "threads": 1, "mode": "offline"}
    base, new = (
        record(
            measured("student", "max_throughput_per_s", 100.0, axes=at, interval=around(100.0, 0.01)),
            models=(card("teacher", "a", "teacher"), card("student", sha)),
            pairs=(speed_up(ratio, metric="throughput_ratio").model_copy(update={"axes": at}),),
        )
        for sha, ratio in (("1", 5.0), ("2", 6.0))
    )
    row = only(compare(base, new, metrics=["max_throughput_per_s"]), "max_throughput_per_s")
    assert (row.outcome, row.change) == ("improved", pytest.approx(1.2))


def test_another_runtime_may_be_the_cause_so_nothing_is_anchored():
    base, new = both(1000.0, 1300.0, 5.0, 5.0)  # both models slower by 30 %
    new = new.model_copy(update={"environment": Environment(host=HOST, libraries={"onnxruntime": "1.23.0"})})
    comparison = compare(base, new)
    assert [(row.outcome, row.way) for row in comparison.rows] == [("regressed", "separate")] * 2
    assert "onnxruntime 1.22.0 → 1.23.0" in comparison.notes[0]


@pytest.mark.parametrize(("fact", "after"), [("engine", "Chromium 2"), ("version", "1.31.0")])
def test_another_browser_may_be_the_cause_of_other_times_in_it(fact, after):
    at = {**AT, "runtime": "onnxruntime-web"}
    facts = {"version": "1.30.0", "engine": "Chromium 1"}
    base, new = (
        record(latency("student", ns).model_copy(update={"axes": at})).model_copy(
            update={"protocol": {"runtimes": {"onnxruntime-web": of}}}
        )
        for ns, of in ((1000.0, facts), (1300.0, {**facts, fact: after}))
    )
    assert other_runtime(base, new, at) == f"{fact} {facts[fact]} → {after}"
    assert other_runtime(base, new, AT) == ""


def drawn(rng, true_ratio, sd):
    """Draw a speed-up that scatters by `sd` between runs, and the interval that a run of it has."""
    return true_ratio * math.exp(rng.normal(0, sd))


@pytest.mark.parametrize(("sd", "half"), [(0.005, 0.010), (0.015, 0.046)])  # of reports/trust: conv and dense
def test_no_change_is_seldom_called_a_regression_and_a_slowdown_is_found(sd, half):
    rng = np.random.default_rng(0)
    alarms = detections = 0
    for _ in range(400):
        machine = rng.normal(0, 0.04)
        before, same, slower = (drawn(rng, ratio, sd) for ratio in (5.0, 5.0, 5.0 / 1.2))
        new_ns = 1000.0 * math.exp(machine)
        alarms += only(compare(*both(1000.0, new_ns, before, same, half))).outcome == "regressed"
        detections += only(compare(*both(1000.0, 1.2 * new_ns, before, slower, half))).outcome == "regressed"
    assert alarms <= 0.01 * 400
    assert detections >= 0.95 * 400
