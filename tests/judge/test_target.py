"""Targets as they are written: what fits, what is refused, and what is said about it."""

import re
from pathlib import Path

import pytest

from kdbench.errors import InputError
from kdbench.judge.criteria import Criterion
from kdbench.judge.device import Device, differences
from kdbench.judge.readiness import judge
from kdbench.judge.target import Target, load_target, shipped_targets, target_from
from kdbench.results.records import Environment, RunRecord

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "tests" / "records" / "digits.json"
TOP1 = {"metric": "top1", "min": "85 %"}


def target(*criteria, **keys) -> Target:
    return target_from({"name": "mine", "criterion": list(criteria) or [TOP1], **keys})


def refused(*criteria, **keys) -> InputError:
    with pytest.raises(InputError) as caught:
        target(*criteria, **keys)
    return caught.value


@pytest.mark.parametrize("name", shipped_targets())
def test_shipped_targets_are_examples_under_their_own_name_and_judge_a_real_record(name):
    shipped = load_target(name)
    assert shipped.name == name
    assert shipped.example
    assert "xample numbers" in shipped.note
    verdict = judge(RunRecord.read(RECORD), shipped)
    assert [model.model for model in verdict.models] == ["student-alone", "student-kd", "student-hint"]
    assert all(len(model.criteria) == 1 + len(shipped.limits) for model in verdict.models)


@pytest.mark.parametrize("name", sorted(shipped_targets().keys() - {"server-cpu"}))
def test_no_shipped_target_of_another_device_is_met_by_a_run_on_a_server(name):
    assert judge(RunRecord.read(RECORD), load_target(name)).overall != "READY"


@pytest.mark.parametrize(
    ("name", "board", "recognised"),
    [
        # What the boards' device trees call themselves.
        ("raspberry-pi-5", "Raspberry Pi 5 Model B Rev 1.0", True),
        ("raspberry-pi-5", "Raspberry Pi 4 Model B Rev 1.5", False),
        ("raspberry-pi-5", "Raspberry Pi 500 Rev 1.0", False),
        ("jetson-orin-nano", "NVIDIA Jetson Orin Nano Developer Kit", True),
        ("jetson-orin-nano", "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", True),
        ("jetson-orin-nano", "NVIDIA Jetson AGX Orin Developer Kit", False),
    ],
)
def test_boards_are_recognised_by_what_they_call_themselves(make_run, name, board, recognised):
    conditions = load_target(name).device
    record = make_run(
        environment=Environment(host={"board": board}, libraries={}),
        protocol={"provider": conditions.provider},
        measurements=(),
    )
    assert (differences(record, conditions) == []) == recognised


def test_the_names_are_those_the_documents_promise():
    assert {"raspberry-pi-5", "jetson-orin-nano", "server-cpu", "browser-wasm", "microcontroller-class"} == set(
        shipped_targets()
    )


@pytest.mark.parametrize(
    ("criterion", "value", "written"),
    [
        ({"metric": "latency_p50_ns", "max": "50 ms"}, 50e6, "ns"),
        ({"metric": "latency_p50_ns", "max": 50_000_000}, 50e6, "ns"),
        ({"metric": "size_bytes", "max": "20 MB"}, 20e6, "bytes"),
        ({"metric": "top1", "min": "85 %"}, 0.85, "share"),
        ({"metric": "top1", "min": 0.85}, 0.85, "share"),
        ({"metric": "energy_j", "max": "12 mJ"}, 0.012, "J"),
        ({"metric": "macs", "max": "300 M"}, 300e6, "MACs"),
        ({"metric": "parameters", "max": "1.5 M"}, 1.5e6, "1"),
        ({"metric": "throughput_per_s", "min": "500 /s"}, 500, "1/s"),
        ({"metric": "top1", "max_drop_vs_teacher": "1 point"}, 1, "points"),
        ({"metric": "top1", "max_drop_vs_teacher": "1.0 pp"}, 1, "points"),
        ({"metric": "top5", "max_drop_vs_teacher": 0.5}, 0.5, "points"),
        ({"metric": "top1", "max_negative_flips": "0.5 %"}, 0.005, "share"),
        ({"max_negative_flips": 0.005, "required": True}, 0.005, "share"),
        ({"metric": "negative_flips", "max": "0.5 %"}, 0.005, "share"),
        ({"metric": "worst_class_drop", "max": "5 points"}, 5, "points"),
        ({"metric": "latency_p50_ns", "min_ratio_vs_teacher": "3×"}, 3, "1"),
        ({"metric": "latency_ratio", "min": 3}, 3, "1"),
    ],
)
def test_limits_are_read_in_the_unit_of_what_they_bound(criterion, value, written):
    (limit,) = target(criterion).limits
    assert limit.value == pytest.approx(value)
    assert limit.checked_metric.unit == written


def test_several_limits_of_one_criterion_are_a_line_each_with_the_same_axes():
    limits = target({"metric": "latency_p50_ns", "max": 5, "min_ratio_vs_teacher": 2, "axes": {"threads": 4}}).limits
    assert [(limit.rule, limit.side) for limit in limits] == [("max", "max"), ("min_ratio_vs_teacher", "min")]
    assert all(limit.axes == {"threads": 4} for limit in limits)


@pytest.mark.parametrize(
    ("criterion", "message", "hint"),
    [
        ({"metric": "latency_p50", "max": 1}, "unknown metric 'latency_p50'", "did you mean 'latency_p50_ns'?"),
        ({"metric": "top1"}, "no limit", "max_drop_vs_teacher"),
        ({"metric": "top1", "mni": 0.5}, "unknown key 'criterion.0.mni'", "did you mean 'min'?"),
        ({"metric": "size_bytes", "max": "50 ms"}, "'ms' does not fit here; use one of bytes, GB", "bytes"),
        ({"metric": "energy_j", "max": "lots"}, "'lots' is not a quantity", "number in J"),
        ({"metric": "latency_p50_ns", "max": "0,5 s"}, "is not a quantity", "ns"),
        ({"metric": "size_bytes", "max": True}, "True is not a limit", "50 ms"),
        ({"metric": "size_bytes", "max": float("nan")}, "nan is not a finite number", ""),
        ({"metric": "load_ns", "max": "1e400 ms"}, "is too large", "number in ns"),
        ({"metric": "load_ns", "max": "1e9999999 ms"}, "is too large", "number in ns"),
        ({"metric": "size_bytes", "max": -1}, "negative", "0"),
        ({"metric": "top1", "min": 0}, "lets every model pass", "above 0"),
        ({"metric": "size_bytes", "min_ratio_vs_teacher": 0}, "lets every model pass", "above 0"),
        ({"metric": "top1_drop", "max": 1, "min": 0}, "lets every model pass", "above 0"),
        ({"metric": "size_bytes", "max": 1, "min": 2}, "exclude each other", "swap min and max"),
        ({"metric": "top1", "min": 85}, "a share is at most 1", "85 %"),
        ({"metric": "top1", "max": 0.9}, "higher is better", "did you mean 'min'?"),
        ({"metric": "top1", "max_negative_flips": 1}, "lets every model pass", "1 %"),
        ({"metric": "top1", "max_negative_flips": 2}, "a share is at most 1", "2 %"),
        ({"metric": "top1", "max_negative_flips": "2 points"}, "'points' does not fit here", "number in share"),
        ({"metric": "top5", "max_negative_flips": 0.1}, "top5 has no max_negative_flips", "in a criterion on top1"),
        ({"metric": "negative_flips", "max_negative_flips": 0.1}, "already relative to the teacher", "max or min"),
        ({"metric": "negative_flips", "min": 0.1}, "lower is better", "did you mean 'max'?"),
        ({"max_negative_flips": 0.1, "min": 0.9}, "metric", ""),
        ({"metric": "worst_class_drop", "max": 5, "axes": {"class": "cat"}}, "covers every class", "class_top1"),
        ({"metric": "size_bytes", "min": 5}, "lower is better", "did you mean 'max'?"),
        ({"metric": "latency_p90_ns", "min_ratio_vs_teacher": 2}, "no run measures it", "latency_ratio"),
        ({"metric": "ece", "max_drop_vs_teacher": 2}, "no run measures it", "top1, top5"),
        ({"metric": "agreement", "max_drop_vs_teacher": 2}, "no run measures it", "top1"),
        ({"metric": "top1", "min_ratio_vs_teacher": 2}, "no run measures it", "size_bytes"),
        ({"metric": "latency_ratio", "min_ratio_vs_teacher": 2}, "already relative to the teacher", "max or min"),
        ({"metric": "size_bytes", "max": 5e6, "axes": {"batch": 1}}, "no axis 'batch'", "leave the axis out"),
        ({"metric": "load_ns", "max": 5, "axes": {"thread": 1}}, "unknown axis 'thread'", "did you mean 'threads'?"),
        ({"metric": "load_ns", "max": 5, "axes": {"threads": "4"}}, "a whole number from 1 on", "axes = {"),
        ({"metric": "load_ns", "max": 5, "axes": {"threads": 0}}, "a whole number from 1 on", "axes = {"),
        ({"metric": "load_ns", "max": 5, "axes": {"provider": 1}}, "is a text", ""),
        ({"metric": "load_ns", "max": 5, "evidence": "guessed"}, "criterion.0.evidence", "docs/readiness.md"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(criterion, message, hint):
    error = refused(criterion)
    assert message in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (TOP1, {"metric": "top1", "min": 0.9}, "min is given twice"),
        (
            {"metric": "latency_ratio", "min": 2},
            {"metric": "latency_p50_ns", "min_ratio_vs_teacher": 3},
            "latency_ratio min is the same limit",
        ),
        (
            {"metric": "size_bytes", "max": 5},
            {"metric": "size_bytes", "min": 6, "max_drop_vs_teacher": 1},
            "no run measures it",
        ),
        (
            {"metric": "top1_drop", "max": 1},
            {"metric": "top1", "max_drop_vs_teacher": 1},
            "top1_drop max is the same limit",
        ),
        ({"metric": "negative_flips", "max": 0.1}, {"max_negative_flips": 0.2}, "negative_flips max is the same limit"),
    ],
)
def test_two_criteria_on_one_number_are_refused(one, other, message):
    assert message in refused(one, other).message


def test_a_least_above_the_most_is_found_across_criteria():
    both = ({"metric": "latency_ratio", "min": 3}, {"metric": "latency_p50_ns", "max": 5, "min": 1})
    assert len(target(*both).limits) == 3
    wide = {"metric": "latency_p50_ns", "max": 9, "min": 6, "axes": {"threads": 1}}
    assert len(target(*both, wide).limits) == 5
    assert "exclude" in refused({"metric": "latency_ratio", "min": 3, "max": 2}).message


@pytest.mark.parametrize(
    ("keys", "message", "hint"),
    [
        ({"name": "a/b"}, "'a/b' cannot be a target's name", "letters"),
        ({"tilte": "x"}, "unknown key 'tilte'", "did you mean 'title'?"),
        ({"prefer": ["top2"]}, "unknown metric 'top2'", "did you mean 'top1'?"),
        ({"criterion": []}, "criterion", "docs/readiness.md"),
        ({"criterion": [{**TOP1, "required": False}]}, "no criterion is required", "required = false"),
        ({"device": {"bord": "Pi"}}, "unknown key 'device.bord'", "did you mean 'board'?"),
        ({"device": {"board": "("}}, "'(' is not a regular expression", "plain word"),
        ({"device": {"memory_bytes": "4 ms"}}, "does not fit here", "4 GB"),
        ({"device": {"memory_bytes": True}}, "True is not a size", "4 GB"),
        ({"device": {"cores_usable": 0}}, "device.cores_usable", ""),
    ],
)
def test_what_does_not_fit_a_target_is_refused_with_what_does(keys, message, hint):
    error = refused(**keys)
    assert message in error.message
    assert hint in error.hint


def test_a_targets_file_is_found_by_its_path_and_called_as_it_is(tmp_path):
    path = tmp_path / "our-board.toml"
    path.write_text('[[criterion]]\nmetric = "top1"\nmin = "85 %"\n')
    result = load_target(str(path))
    assert (result.name, result.description, result.example) == ("our-board", "our-board", False)
    assert result.prefer == ("top1", "rmse", "latency_p50_ns", "size_bytes")
    assert result.device == Device()


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("raspberrypi-5", "unknown target 'raspberrypi-5'", "did you mean 'raspberry-pi-5'?"),
        ("toaster", "unknown target 'toaster'", "server-cpu"),
        ("none.toml", "no target at none.toml", "server-cpu"),
    ],
)
def test_a_target_that_is_not_there(name, message, hint):
    with pytest.raises(InputError) as caught:
        load_target(name)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"), [("", "is empty"), ("[[criterion]", "is not valid TOML"), ("a = 1", "'a'")]
)
def test_a_file_that_is_no_target(tmp_path, text, message):
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_target(str(path))


def test_the_documents_own_target_loads(tmp_path):
    (written,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "readiness.md").read_text(), re.DOTALL)
    (tmp_path / "board.toml").write_text(written)
    result = load_target(str(tmp_path / "board.toml"))
    assert result.name == "our-board"
    assert len(result.limits) == 6


def test_every_key_of_a_target_is_explained():
    text = (ROOT / "docs" / "readiness.md").read_text()
    keys = {
        field.alias or name for section in (Target, Criterion, Device) for name, field in section.model_fields.items()
    }
    assert not [key for key in keys if f"`{key}`" not in text]
