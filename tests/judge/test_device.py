"""The target's device: which machine a run was measured on, and in what state."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judge.on_a_pi import ACCURATE, FAST, LAPTOP, criteria, device

from kdbench.judge.readiness import judge
from kdbench.results.records import DeviceRun, Diagnostic, Environment
from kdbench.results.records.devices import with_device


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
        ({"runtime": "onnxruntime-web"}, "measure with --runtime=onnxruntime-web"),
        ({"provider": "cuda", "runtime": "torch"}, "measure with --provider=cuda --runtime=torch"),
        ({"board": "Jetson", "provider": "cuda"}, "measure on a Pi with --provider=cuda"),
        ({"board": "Jetson"}, "measure on a Pi"),
    ],
)
def test_the_remedy_names_the_options_that_the_device_needs(make_run, on_a_pi, condition, remedy):
    assert device(judge(make_run(), on_a_pi(FAST, device=condition))).remedy == remedy


def test_the_remedy_for_a_recipe_names_its_keys(make_run, on_a_pi):
    verdict = judge(make_run(recipe={"name": "small"}), on_a_pi(FAST, device={"runtime": "onnxruntime-web"}))
    assert device(verdict).remedy == "measure with --set measure.runtime=onnxruntime-web"


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


def test_a_record_that_does_not_say_what_ran_its_models_is_of_no_device(make_run, on_a_pi):
    verdict = judge(make_run(protocol={}, measurements=(), pairs=()), on_a_pi({"metric": "top1", "min": 0.5}))
    assert verdict.models[0].criteria[0].outcome == "UNKNOWN"
    assert "provider is unknown, not cpu" in verdict.models[0].criteria[0].reason


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
