"""Each rule of a target, with each of its outcomes."""

import pytest
from judge.on_a_pi import ACCURATE, SINGLE, criteria, replaced

from kdbench.judge.criteria import Criterion
from kdbench.judge.readiness import judge
from kdbench.results.records import Interval, Pair, measured, missing


@pytest.mark.parametrize(
    ("criterion", "outcome", "value"),
    [
        ({"metric": "latency_p50_ns", "max": "20 ms"}, "PASS", 10e6),
        ({"metric": "latency_p50_ns", "max": "10.2 ms"}, "MARGINAL", 10e6),
        ({"metric": "latency_p50_ns", "max": "9 ms"}, "FAIL", 10e6),
        ({"metric": "top1", "min": "85 %"}, "PASS", 0.90),
        ({"metric": "top1", "min": "90 %"}, "MARGINAL", 0.90),
        ({"metric": "top1", "min": "95 %"}, "FAIL", 0.90),
        ({"metric": "top1", "max_drop_vs_teacher": 1}, "PASS", 0.5),
        ({"metric": "top1", "max_drop_vs_teacher": 0.5}, "MARGINAL", 0.5),
        ({"metric": "top1", "max_drop_vs_teacher": 0.1}, "FAIL", 0.5),
        ({"metric": "top1_drop", "max": 1}, "PASS", 0.5),
        ({"metric": "top1", "max_negative_flips": "1.6 %"}, "PASS", 0.012),
        ({"metric": "negative_flips", "max": "1.5 %"}, "MARGINAL", 0.012),
        ({"max_negative_flips": "0.8 %"}, "FAIL", 0.012),
        ({"metric": "worst_class_drop", "max": 5}, "PASS", 2.0),
        ({"metric": "worst_class_drop", "max": 1}, "MARGINAL", 2.0),
        ({"metric": "mcnemar_p", "min": 0.01}, "UNKNOWN", 0.03),
        ({"metric": "ece_shift", "max": 1}, "UNKNOWN", 0.4),
        ({"metric": "latency_p50_ns", "min_ratio_vs_teacher": 3}, "PASS", 4),
        ({"metric": "latency_p50_ns", "min_ratio_vs_teacher": 4}, "MARGINAL", 4),
        ({"metric": "latency_p50_ns", "min_ratio_vs_teacher": 5}, "FAIL", 4),
        ({"metric": "size_bytes", "min_ratio_vs_teacher": 4}, "PASS", 4),
        ({"metric": "macs_ratio", "min": 4.1}, "FAIL", 4),
        ({"metric": "parameters", "min_ratio_vs_teacher": 4}, "PASS", 4),
        ({"metric": "parameters", "min_ratio_vs_teacher": 4.1}, "FAIL", 4),
        ({"metric": "top5", "max_drop_vs_teacher": 1.1}, "PASS", 0),
        ({"metric": "top5", "max_drop_vs_teacher": 0.9}, "MARGINAL", 0),
        ({"metric": "class_top1", "min": 0.3, "axes": {"class": "3"}}, "PASS", 0.5),
        ({"metric": "energy_j", "max": 1}, "UNKNOWN", None),
        ({"metric": "training_s", "max": 100}, "UNKNOWN", 12.0),
    ],
)
def test_every_rule_has_every_outcome(one, criterion, outcome, value):
    check = one(**criterion)
    assert check.outcome == outcome
    assert check.value == (None if value is None else pytest.approx(value))
    assert (check.reason == "") == (outcome == "PASS")


def test_a_drop_without_a_pair_lies_between_the_extremes_of_both_intervals(one):
    # Teacher and student: [98.5, 99.5] % each, so that the drop may be 1 point either way.
    bounds = one(metric="top5", max_drop_vs_teacher=5).interval
    assert (bounds.low, bounds.high) == (pytest.approx(-1), pytest.approx(1))


def test_how_many_flips_are_too_many_and_how_many_samples_would_tell(one):
    assert "0.40 points over" in one(max_negative_flips="0.8 %").remedy
    assert "test samples would settle it" in one(max_negative_flips="1.1 %").remedy
    assert one(metric="worst_class_drop", max=1).axes == {"class": "3"}


def without(record, *metrics):
    return record.model_copy(update={"pairs": tuple(p for p in record.pairs if p.metric not in metrics)})


def test_flips_that_were_not_measured_pass_nothing_and_say_what_measures_them(one, make_run, make_card):
    check = one(without(make_run(), "negative_flips"), max_negative_flips="50 %")
    assert (check.outcome, check.reason) == ("UNKNOWN", "not measured")
    assert "kdbench bench TEACHER STUDENT --data" in check.remedy
    both = {"teacher": "teacher", "student": "student", "status": "unavailable"}
    nothing = Pair(metric="negative_flips", value=None, reason="no test data was named", **both)
    run = without(make_run(), "negative_flips")
    check = one(run.model_copy(update={"pairs": (*run.pairs, nothing)}), max_negative_flips="50 %")
    assert (check.outcome, check.reason) == ("UNKNOWN", "no test data was named")
    assert "--data" in check.remedy
    alone = make_run(models=(make_card("student", parents=()),), measurements=(), pairs=())
    assert "the run compares it with no other model" in one(alone, max_negative_flips="50 %").reason


def test_a_regression_has_no_flips_and_a_classification_no_errors(one, make_run, make_card):
    cards = tuple(make_card(id_, targets=("price",), classes=1) for id_ in ("teacher", "student"))
    check = one(without(make_run(models=cards), "negative_flips"), max_negative_flips="50 %")
    assert (check.outcome, check.reason) == ("UNKNOWN", "a regression has no negative_flips")
    assert "rmse" in check.remedy
    check = one(metric="rmse_ratio", min=0.9)
    assert (check.outcome, check.reason) == ("UNKNOWN", "a classification has no rmse_ratio")
    assert "top1" in check.remedy


def test_a_model_without_a_teacher_has_no_drop_and_no_ratio(make_run, make_card, on_a_pi):
    alone = make_run(models=(make_card("teacher"), make_card("student", parents=())), pairs=())
    check = criteria(judge(alone, on_a_pi(ACCURATE, {"metric": "parameters", "min_ratio_vs_teacher": 1})))
    assert {(c.outcome, c.reason) for c in check} == {("UNKNOWN", "the run compares it with no other model")}
    assert all("kdbench bench TEACHER STUDENT" in c.remedy for c in check)


def test_a_pair_that_could_not_be_measured_says_why(make_run, one):
    pair = Pair(metric="latency_ratio", teacher="teacher", student="student", axes=SINGLE, value=None,
                status="invalid", reason="the teacher is unstable")  # fmt: skip
    check = one(make_run(pairs=(pair,)), metric="latency_p50_ns", min_ratio_vs_teacher=2)
    assert (check.outcome, check.reason) == ("UNKNOWN", "the teacher is unstable")


def test_two_numbers_are_as_weak_as_the_weaker(make_run, one):
    interval = Interval(low=0.9, high=1.0)
    absent = missing("teacher", "top5", "it was not scored")
    check = one(replaced(make_run(), "teacher", "top5", absent), metric="top5", max_drop_vs_teacher=50)
    assert (check.outcome, check.reason) == ("UNKNOWN", "the teacher: it was not scored")
    guessed = measured("student", "top5", 0.95, interval=interval, evidence="modelled")
    check = one(replaced(make_run(), "student", "top5", guessed), metric="top5", max_drop_vs_teacher=50)
    assert (check.outcome, check.evidence) == ("UNKNOWN", "modelled")


@pytest.mark.parametrize("weaker", ["teacher", "student"])
def test_an_estimate_beside_a_model_is_an_estimate(make_run, one, weaker):
    run = make_run()
    for who in ("teacher", "student"):
        evidence = "estimated" if who == weaker else "modelled"
        number = measured(who, "top5", 0.95, interval=Interval(low=0.9, high=1.0), evidence=evidence)
        run = replaced(run, who, "top5", number)
    check = one(run, metric="top5", max_drop_vs_teacher=50, evidence="modelled")
    assert (check.outcome, check.evidence) == ("UNKNOWN", "estimated")


def test_a_student_may_be_required_to_lose_nothing_against_its_baseline():
    (limit,) = Criterion(metric="top1_gain", min=0, axes={"beside": "alone"}).limits
    assert (limit.value, limit.side, limit.checked_metric.unit) == (0, "min", "points")
