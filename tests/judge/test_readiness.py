"""A run held against a target: every rule, every outcome, and what no run can certify."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdbench.errors import InputError
from kdbench.judge.readiness import judge
from kdbench.results.records import DeviceRun, Diagnostic, Environment, Interval, Pair, measured, missing
from kdbench.results.records.devices import with_device

SINGLE = {"provider": "cpu", "threads": 1, "batch": 1}
BATCHED = {**SINGLE, "batch": 8}
ACCURATE = {"metric": "top1", "max_drop_vs_teacher": "1 point"}
FAST = {"metric": "latency_p50_ns", "max": "20 ms"}
LAPTOP = Environment(host={"cpu": "Some laptop"}, libraries={})


def criteria(verdict, model="student"):
    """Return a model's criteria but the device's."""
    (of_model,) = (candidate for candidate in verdict.models if candidate.model == model)
    return [criterion for criterion in of_model.criteria if criterion.rule != "device"]


def device(verdict):
    return next(criterion for criterion in verdict.models[0].criteria if criterion.rule == "device")


def replaced(record, model, metric, *measurements):
    """Return the record with these findings in the place of the model's at the metric."""
    kept = [m for m in record.measurements if (m.model, m.metric) != (model, metric)]
    return record.model_copy(update={"measurements": (*kept, *measurements)})


@pytest.fixture
def one(make_run, on_a_pi):
    """Return the only criterion of the student, judged by one criterion of a target."""

    def judged(record=None, **criterion):
        (check,) = criteria(judge(record or make_run(), on_a_pi(criterion)))
        return check

    return judged


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


@given(shift=st.floats(-1, 1))
def test_drops_by_two_intervals_hold_for_the_worst_dependence(shift):
    # The standard deviation of a difference is at most the sum of both, reached at a correlation of -1.
    teacher, student, rho = 0.01, 0.02, shift
    spread = (teacher**2 + student**2 - 2 * rho * teacher * student) ** 0.5
    assert 1.96 * (teacher + student) >= 1.96 * spread - 1e-12


def test_a_model_is_ready_where_all_that_is_required_passes(make_run, on_a_pi):
    verdict = judge(make_run(), on_a_pi(ACCURATE, FAST, {"metric": "size_bytes", "max": 1, "required": False}))
    assert (verdict.overall, verdict.best, verdict.exit_code) == ("READY", "student", 0)
    assert verdict.models[0].missing == ()
    assert [c.outcome for c in verdict.models[0].criteria] == ["PASS", "PASS", "PASS", "FAIL"]
    assert verdict.record_hash == make_run().hash()
    assert "Raspberry Pi 5" in verdict.measured_on


def test_a_required_fail_settles_it_whatever_else_is_unknown(make_run, on_a_pi):
    verdict = judge(make_run(), on_a_pi({"metric": "energy_j", "max": 1}, {"metric": "size_bytes", "max": 1}))
    assert (verdict.overall, verdict.best, verdict.exit_code) == ("NOT READY", None, 1)
    assert [c.outcome for c in criteria(verdict)] == ["UNKNOWN", "FAIL"]


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


@pytest.mark.parametrize("open_", [{"metric": "energy_j", "max": 1}, {"metric": "top1", "min": "90 %"}])
def test_what_is_unknown_or_marginal_leaves_it_open(make_run, on_a_pi, open_):
    verdict = judge(make_run(), on_a_pi(FAST, open_))
    assert (verdict.overall, verdict.best, verdict.exit_code) == ("INCONCLUSIVE", None, 2)
    assert [c.metric for c in verdict.models[0].missing] == [open_["metric"]]


def test_one_model_that_is_ready_is_enough_and_one_that_may_be_leaves_it_open(make_run, on_a_pi):
    size = {"metric": "size_bytes", "max": "6 MB"}
    base = make_run("small", "large", "unknown")
    large = replaced(base, "large", "size_bytes", measured("large", "size_bytes", 9e6))
    mixed = replaced(large, "unknown", "size_bytes", missing("unknown", "size_bytes", "the file is gone"))
    assert [m.overall for m in judge(mixed, on_a_pi(size)).models] == ["READY", "NOT READY", "INCONCLUSIVE"]
    assert judge(mixed, on_a_pi(size)).overall == "READY"
    assert judge(mixed, on_a_pi(size), ["large", "unknown"]).overall == "INCONCLUSIVE"
    assert judge(mixed, on_a_pi(size), ["large"]).overall == "NOT READY"


@given(
    limits=st.lists(
        st.sampled_from(
            [
                {"metric": "top1", "min": 0.01},
                {"metric": "size_bytes", "max": "1 GB"},
                {"metric": "macs", "max": "1 T"},
                {"metric": "latency_p50_ns", "max": "1 s"},
                {"metric": "peak_memory_bytes", "max": 1e12},
                {"metric": "latency_ratio", "min": 0.1},
            ]
        ),
        min_size=1,
        unique_by=lambda criterion: criterion["metric"],
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_a_run_on_another_machine_is_never_ready_however_loose_the_limits(make_run, on_a_pi, limits):
    here, there = (judge(make_run(**change), on_a_pi(*limits)) for change in ({}, {"environment": LAPTOP}))
    assert here.overall == "READY"
    assert there.overall == "INCONCLUSIVE"
    assert device(there).outcome == "UNKNOWN"
    for criterion in criteria(there):
        hardware_dependent = criterion.metric in {"latency_p50_ns", "peak_memory_bytes", "latency_ratio"}
        assert criterion.outcome == ("UNKNOWN" if hardware_dependent else "PASS")


def test_what_another_machine_says_of_times_is_shown_and_not_believed(make_run, on_a_pi):
    verdict = judge(make_run(environment=LAPTOP), on_a_pi(FAST))
    (check,) = criteria(verdict)
    assert check.value == 10e6
    assert check.reason == "measured on Some laptop, not on a Pi"
    assert check.remedy == "measure on a Pi"
    assert "the record names no board" in device(verdict).reason


@pytest.mark.parametrize(
    ("condition", "remedy"),
    [
        ({"runtime": "onnxruntime-web"}, "measure with --runtime onnxruntime-web"),
        ({"provider": "cuda", "runtime": "torch"}, "measure with --provider cuda --runtime torch"),
        ({"board": "Jetson", "provider": "cuda"}, "measure on a Pi with --provider cuda"),
        ({"board": "Jetson"}, "measure on a Pi"),
    ],
)
def test_the_remedy_names_the_options_that_the_device_needs(make_run, on_a_pi, condition, remedy):
    assert device(judge(make_run(), on_a_pi(FAST, device=condition))).remedy == remedy


def test_a_file_that_is_too_large_is_so_on_every_machine(make_run, on_a_pi):
    verdict = judge(make_run(environment=LAPTOP), on_a_pi({"metric": "size_bytes", "max": "1 MB"}))
    assert verdict.overall == "NOT READY"


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ({"board": "Jetson"}, "board is 'Raspberry Pi 5 Model B Rev 1.0', not 'Jetson'"),
        ({"board": "raspberry pi [45]"}, ""),
        ({"cpu": "^Cortex-A7"}, ""),
        ({"gpu": "H100"}, "the record names no gpu"),
        ({"memory_bytes": "8 GB"}, ""),
        ({"memory_bytes": "16 GB"}, "memory bytes is 8.20 GB, not 16.0 GB or more"),
        ({"cores_usable": 8}, "cores usable is 4, not 8 or more"),
        ({"libraries": {"onnxruntime": r"^1\.22"}}, ""),
        ({"libraries": {"onnxruntime": "^2"}}, "onnxruntime is '1.22.0', not '^2'"),
        ({"libraries": {"torch": "2"}}, "the record names no torch"),
        ({"provider": "cuda"}, "provider is cpu, not cuda"),
        ({"runtime": "onnxruntime-web"}, "runtime is onnxruntime, not onnxruntime-web"),
        ({"runtime": "onnxruntime"}, ""),
    ],
)
def test_the_device_is_told_by_its_facts_its_libraries_and_what_ran_the_models(make_run, on_a_pi, condition, says):
    check = device(judge(make_run(), on_a_pi(ACCURATE, device=condition)))
    assert check.outcome == ("UNKNOWN" if says else "PASS")
    assert says in check.reason


@pytest.mark.parametrize("cpu", ["Intel(R) Xeon(R) Processor @ 2.50GHz", "intel(r) xeon(r)", "xeon.*GHz"])
def test_a_text_with_special_characters_matches_itself(make_run, on_a_pi, cpu):
    environment = Environment(host={"cpu": "Intel(R) Xeon(R) Processor @ 2.50GHz"}, libraries={})
    verdict = judge(make_run(environment=environment), on_a_pi(ACCURATE, device={"cpu": cpu}))
    assert device(verdict).outcome == "PASS"


def test_without_a_device_any_machine_counts_and_is_named(make_run, on_a_pi):
    verdict = judge(make_run(environment=LAPTOP), on_a_pi(FAST, device={}))
    assert verdict.overall == "READY"
    assert device(verdict).reason == "any machine is accepted: measured on Some laptop"
    assert verdict.measured_on == "Some laptop"


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


def test_a_record_that_does_not_say_what_ran_its_models_is_of_no_device(make_run, on_a_pi):
    verdict = judge(make_run(protocol={}, measurements=(), pairs=()), on_a_pi({"metric": "top1", "min": 0.5}))
    assert verdict.models[0].criteria[0].outcome == "UNKNOWN"
    assert "provider is unknown, not cpu" in verdict.models[0].criteria[0].reason


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


@pytest.mark.parametrize("code", ["throttled", "swapping"])
@pytest.mark.parametrize("about", [None, "student"])
def test_times_of_a_machine_that_was_not_itself_are_unknown(make_run, on_a_pi, code, about):
    diagnostic = Diagnostic(code=code, message="in 2 of 8 sessions", remedy="cool it", model=about)
    check = criteria(judge(make_run(warnings=(diagnostic,)), on_a_pi(ACCURATE, FAST)))
    assert [c.outcome for c in check] == ["PASS", "UNKNOWN"]
    assert "in 2 of 8 sessions" in check[1].reason
    assert check[1].remedy == "cool it"


@pytest.mark.parametrize(("code", "outcome"), [("throttled", "PASS"), ("swapping", "UNKNOWN")])
def test_a_slow_clock_leaves_memory_as_it_is_and_swapping_does_not(make_run, on_a_pi, code, outcome):
    record = make_run(warnings=(Diagnostic(code=code, message="m"),))
    (check,) = criteria(judge(record, on_a_pi({"metric": "peak_memory_bytes", "max": "1 GB"})))
    assert check.outcome == outcome


@pytest.mark.parametrize(("code", "about"), [("throttled", "teacher"), ("load", None), ("near_floor", "student")])
def test_other_warnings_are_named_and_change_nothing(make_run, on_a_pi, code, about):
    verdict = judge(make_run(warnings=(Diagnostic(code=code, message="m", model=about),)), on_a_pi(FAST))
    assert verdict.overall == "READY"
    assert verdict.cautions == (code,)


def test_after_a_merge_the_warnings_are_those_of_the_device_that_is_judged(make_run, on_a_pi):
    pi = make_run()
    host = pi.model_copy(update={"environment": LAPTOP, "warnings": (Diagnostic(code="load", message="m"),)})
    device = DeviceRun(
        name="pi5",
        target="pi",
        created=pi.created,
        bundle="0" * 64,
        result="1" * 64,
        complete=True,
        environment=pi.environment,
        protocol=pi.protocol,
        warnings=(Diagnostic(code="hot", message="m"),),
    )
    timed = [m for m in pi.measurements if m.metric == "latency_p50_ns"]
    merged = judge(with_device(host, device, timed, []), on_a_pi(FAST))
    assert (merged.overall, merged.device, merged.cautions) == ("READY", "pi5", ("hot",))
    alone = judge(host, on_a_pi(FAST))
    assert (alone.device, alone.cautions) == ("", ("load",))


def test_teachers_are_no_candidates_unless_they_are_named_or_alone(make_run, make_card, on_a_pi):
    assert [m.model for m in judge(make_run("a", "b"), on_a_pi(FAST)).models] == ["a", "b"]
    assert [m.model for m in judge(make_run(), on_a_pi(FAST), ["teacher"]).models] == ["teacher"]
    alone = make_run(models=(make_card("teacher"),), pairs=(), measurements=())
    assert [m.model for m in judge(alone, on_a_pi(FAST)).models] == ["teacher"]


def test_of_several_seeds_the_one_that_was_timed_is_judged(make_run, make_card, on_a_pi):
    cards = [make_card("teacher"), *(make_card(f"s-seed{n}", name="s", seed=n) for n in range(3))]
    record = make_run("s-seed0", "s-seed1", "s-seed2", models=tuple(cards))
    untimed = [m for m in record.measurements if m.metric != "latency_p50_ns" or m.model == "s-seed1"]
    record = record.model_copy(update={"measurements": tuple(untimed)})
    assert [m.model for m in judge(record, on_a_pi(FAST)).models] == ["s-seed1"]
    assert [m.model for m in judge(record, on_a_pi(FAST), ["s"]).models] == ["s-seed1"]
    assert [m.model for m in judge(record, on_a_pi(FAST), ["s-seed2", "s"]).models] == ["s-seed2", "s-seed1"]
    none = record.model_copy(update={"measurements": ()})
    assert [m.model for m in judge(none, on_a_pi(FAST)).models] == ["s-seed0"]


def test_models_that_share_a_files_name_alone_are_all_judged(make_run, make_card, on_a_pi):
    cards = (make_card("teacher"), make_card("a-net", name="net"), make_card("b-net", name="net"))
    assert len(judge(make_run("a-net", "b-net", models=cards), on_a_pi(FAST)).models) == 2


def test_an_unknown_model_and_a_record_without_any_are_the_users_mistake(make_run, on_a_pi):
    with pytest.raises(InputError) as caught:
        judge(make_run(), on_a_pi(FAST), ["studnet"])
    assert caught.value.hint == "did you mean 'student'?"
    with pytest.raises(InputError, match="no models"):
        judge(make_run(models=(), measurements=(), pairs=()), on_a_pi(FAST))


def test_the_best_is_chosen_by_what_the_target_prefers(make_run, on_a_pi):
    base = make_run("accurate", "quick", "small")
    wide = Interval(low=0.85, high=0.99)
    base = replaced(base, "accurate", "top1", measured("accurate", "top1", 0.95, interval=wide))
    quick = measured("quick", "latency_p50_ns", 1e6, axes=SINGLE, interval=Interval(low=0.9e6, high=1.1e6))
    base = replaced(base, "quick", "latency_p50_ns", quick)
    base = replaced(base, "small", "size_bytes", measured("small", "size_bytes", 1e6))
    best = {
        prefer: judge(base, on_a_pi({"metric": "top1", "min": 0.5}, prefer=[prefer])).best
        for prefer in ("top1", "latency_p50_ns", "size_bytes", "latency_ratio")
    }
    # With equal speed-ups, the first of the record.
    assert best == {"top1": "accurate", "latency_p50_ns": "quick", "size_bytes": "small", "latency_ratio": "accurate"}


def test_a_number_that_cannot_be_relied_on_prefers_nobody(make_run, on_a_pi):
    shaky = measured("a", "latency_p50_ns", 1.0, axes=SINGLE, unstable="it wobbles")
    record = replaced(make_run("a", "b"), "a", "latency_p50_ns", shaky)
    target = on_a_pi({"metric": "top1", "min": 0.5}, prefer=["latency_p50_ns"])
    assert judge(record, target).best == "b"


def test_only_what_is_ready_is_best(make_run, on_a_pi):
    record = replaced(make_run("a", "b"), "a", "size_bytes", measured("a", "size_bytes", 1e9))
    assert judge(record, on_a_pi({"metric": "size_bytes", "max": "10 MB"}, prefer=["top1"])).best == "b"


def test_the_nearest_model_is_the_one_that_lacks_least(make_run, on_a_pi):
    record = replaced(make_run("a", "b"), "a", "size_bytes", measured("a", "size_bytes", 1e9))
    limits = ({"metric": "size_bytes", "max": "10 MB"}, {"metric": "energy_j", "max": 1})
    assert judge(record, on_a_pi(*limits)).nearest.model == "b"
    assert judge(record, on_a_pi(*limits[:1])).nearest.model == "b"


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
