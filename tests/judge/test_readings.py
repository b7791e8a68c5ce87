"""Which number of a record answers a criterion: axes, parts, runtimes, teachers and sources."""

import pytest
from judge.on_a_pi import FAST, SINGLE, criteria, replaced

from kdbench.judge.readiness import judge
from kdbench.results.records import Interval, Pair, measured, missing

BATCHED = {**SINGLE, "batch": 8}


def test_all_ratios_of_a_student_are_to_the_same_teacher(make_run, make_card, one):
    run = make_run()
    to_another = [
        pair.model_copy(update={"teacher": "assistant", "value": 99.0})
        for pair in run.pairs
        if pair.metric != "top1_drop"
    ]
    cards = (*run.models, make_card("assistant", role="teacher", parents=()))
    drop = tuple(pair for pair in run.pairs if pair.metric == "top1_drop")
    check = one(make_run(models=cards, pairs=(*drop, *to_another)), metric="latency_p50_ns", min_ratio_vs_teacher=2)
    assert (check.outcome, check.value) == ("UNKNOWN", None)


def test_whom_a_student_was_measured_beside_is_its_teacher(make_run, make_card, one):
    run = make_run()
    assistant = make_card("assistant", role="teacher", parents=())
    student = make_card("student", parents=("assistant",))
    check = one(make_run(models=(run.models[0], assistant, student)), metric="latency_p50_ns", min_ratio_vs_teacher=2)
    assert (check.outcome, check.value) == ("PASS", 4.0)


def test_training_images_and_single_classes_never_answer_for_the_test_set(make_run, one):
    record = replaced(
        make_run(), "student", "top1", measured("student", "top1", 0.999, axes={"part": "train"},
                                                interval=Interval(low=0.99, high=1))
    )  # fmt: skip
    check = one(record, metric="top1", min=0.5)
    assert (check.outcome, check.value) == ("UNKNOWN", None)
    assert check.reason == "not measured at part test, but at part train"
    assert one(record, metric="top1", min=0.5, axes={"part": "train"}).outcome == "PASS"
    classes = one(record, metric="class_top1", min=0.1)
    assert one(record, metric="class_top1", min=0.1, axes={"class": 3}).outcome == "PASS"
    assert (classes.outcome, classes.reason) == ("UNKNOWN", "not measured as a whole, but at class 3")


def test_a_model_of_fixed_batch_is_not_judged_at_batch_1(make_run, one):
    fixed = measured("student", "latency_p50_ns", 8e6, axes=BATCHED, interval=Interval(low=7e6, high=9e6))
    record = replaced(make_run(), "student", "latency_p50_ns", fixed)
    check = one(record, **FAST)
    assert (check.outcome, check.reason) == ("UNKNOWN", "not measured at batch 1, but at batch 8")
    assert "other axes" in check.remedy
    assert one(record, **FAST, axes={"batch": 8}).outcome == "PASS"


@pytest.mark.parametrize("condition", [{"threads": 4}, {"mode": "paced"}, {"runtime": "torch"}, {"provider": "cuda"}])
def test_a_number_at_other_axes_is_no_answer(one, condition):
    check = one(**FAST, axes=condition)
    (axis, value), = condition.items()  # fmt: skip
    assert (check.outcome, check.value) == ("UNKNOWN", None)
    assert f"{axis} {value}" in check.reason


def test_other_modes_runtimes_and_scopes_do_not_answer_for_the_usual_one(make_run, one):
    others = ({"mode": "paced", "gap_ms": 5}, {"runtime": "torch"})
    fast = [
        measured("student", "latency_p50_ns", 1.0, axes={**SINGLE, **other}, interval=Interval(low=1, high=1))
        for other in others
    ]
    record = make_run()
    slow = next(m for m in record.measurements if (m.model, m.metric) == ("student", "latency_p50_ns"))
    assert one(replaced(record, "student", "latency_p50_ns", *fast, slow), **FAST).value == 10e6
    assert one(replaced(record, "student", "latency_p50_ns", *fast), **FAST).outcome == "UNKNOWN"
    paced = one(replaced(record, "student", "latency_p50_ns", *fast), **FAST, axes={"mode": "paced"})
    assert (paced.outcome, paced.axes["gap_ms"]) == ("PASS", 5)


def test_accuracy_is_that_of_the_devices_runtime_where_it_was_scored_there(make_run, on_a_pi):
    elsewhere = measured("student", "top1", 0.7, axes={"runtime": "openvino"}, interval=Interval(low=0.69, high=0.71))
    run = make_run(protocol={"provider": "cpu", "runtime": ["onnxruntime", "openvino"]})
    scored = run.model_copy(update={"measurements": (*run.measurements, elsewhere)})

    def value(record, runtime):
        target = on_a_pi({"metric": "top1", "min": "50 %"}, device={"runtime": runtime})
        return criteria(judge(record, target))[0].value

    assert value(scored, "openvino") == 0.7
    assert value(scored, "onnxruntime") == 0.90
    assert value(run, "openvino") == 0.90  # the file's own


def test_of_several_thread_counts_the_headline_answers_and_says_so(make_run, one):
    four = measured(
        "student", "latency_p50_ns", 3e6, axes={**SINGLE, "threads": 4}, interval=Interval(low=2e6, high=4e6)
    )
    record = make_run()
    record = record.model_copy(update={"measurements": (four, *record.measurements)})
    assert one(record, **FAST).axes == SINGLE
    assert one(record, **FAST, axes={"threads": 4}).value == 3e6


def test_the_largest_throughput_is_found_in_its_own_mode(make_run, one):
    axes = {"provider": "cpu", "threads": 1, "mode": "offline"}
    best = measured("student", "max_throughput_per_s", 900.0, axes=axes, interval=Interval(low=800, high=1000))
    record = make_run()
    record = record.model_copy(update={"measurements": (*record.measurements, best)})
    assert one(record, metric="max_throughput_per_s", min=700).outcome == "PASS"


def test_what_could_not_be_measured_at_all_says_why_whatever_axes_are_asked(make_run, one):
    gone = missing("student", "latency_p50_ns", "the model crashed", status="error", hint="see its log")
    check = one(replaced(make_run(), "student", "latency_p50_ns", gone), **FAST, axes={"threads": 4})
    assert (check.outcome, check.reason, check.remedy) == ("UNKNOWN", "the model crashed", "see its log")


@pytest.fixture
def compressed(make_run, make_card):
    """A run with an INT8 variant of the student: 0.2 points and 2× against that, 0.7 points and 8× against the teacher.

    A variant of the variant was compared with the variant alone.
    """
    cards = {id_: make_card(id_, sha256=letter * 64) for id_, letter in (("teacher", "a"), ("student", "b"))}

    def variant(id_, of, letter):
        of_card = cards[of]
        made = {"of": of, "source_sha256": of_card.sha256, "method": "int8", "key": "0"}
        return make_card(id_, role="variant", parents=(of,), sha256=letter * 64, variant=made)

    cards["int8"] = variant("int8", "student", "c")
    cards["again"] = variant("again", "int8", "d")

    def pairs(student, teacher, drop, ratio):
        both, near = {"teacher": teacher, "student": student}, Interval(low=drop - 0.1, high=drop + 0.1)
        fast = Interval(low=0.9 * ratio, high=1.1 * ratio)
        return [
            Pair(metric="latency_ratio", axes=SINGLE, value=ratio, interval=fast, **both),
            Pair(metric="top1_drop", value=drop, interval=near, n=3000, **both),
            Pair(metric="negative_flips", value=drop / 100, interval=Interval(low=0, high=0.01), n=3000, **both),
        ]

    run = make_run()
    # The pair with the teacher comes first, as where that with the source is appended because a number was missing.
    more = [*pairs("int8", "teacher", 0.7, 8.0), *pairs("int8", "student", 0.2, 2.0), *pairs("again", "int8", 0.1, 1.0)]
    return make_run(models=tuple(cards.values()), pairs=(*run.pairs, *more))


@pytest.mark.parametrize(
    ("criterion", "value"),
    [
        ({"metric": "top1", "max_drop_vs_teacher": 1}, 0.7),
        ({"metric": "latency_p50_ns", "min_ratio_vs_teacher": 3}, 8),
        ({"metric": "top1_drop", "max": 1}, 0.2),
        ({"metric": "latency_ratio", "min": 1.5}, 2),
        ({"max_negative_flips": "1 %"}, 0.002),
    ],
)
def test_limits_against_the_teacher_are_about_the_teacher_and_others_about_the_source(
    compressed, on_a_pi, criterion, value
):
    (check,) = criteria(judge(compressed, on_a_pi(criterion)), "int8")
    assert check.value == pytest.approx(value)


def test_a_variant_of_a_variant_that_was_not_measured_against_the_teacher_is_not_judged_by_its_source(
    compressed, on_a_pi
):
    verdict = judge(compressed, on_a_pi({"metric": "top1", "max_drop_vs_teacher": 1}))
    (check,) = criteria(verdict, "again")
    assert (check.outcome, check.value) == ("UNKNOWN", None)
