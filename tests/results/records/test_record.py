import json
import math
from importlib import resources

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kdbench.errors import InputError
from kdbench.results.cards import ModelCard
from kdbench.results.metrics import METRICS
from kdbench.results.preprocessing import Preprocessing
from kdbench.results.records import (
    Diagnostic,
    Environment,
    Interval,
    Measurement,
    Pair,
    RunRecord,
    measured,
    missing,
    record_schema,
)

AXES = {"provider": "cpu", "threads": 1, "batch": 1}


def card(id_: str, role: str = "student") -> ModelCard:
    return ModelCard(
        id=id_,
        name=id_,
        role=role,
        file=f"{id_}.onnx",
        sha256="0" * 64,
        input_shape=(1, 8, 8),
        classes=10,
        parameters=650,
    )


def record(**changes: object) -> RunRecord:
    values: dict[str, object] = {
        "kind": "run",
        "name": "sample",
        "created": "2025-06-01T12:00:00+00:00",
        "command": "kdbench run sample",
        "recipe": {"name": "sample", "seeds": [0]},
        "protocol": {"batch": 128},
        "environment": Environment(host={"cpu": "x", "cores": 4, "clock": None}, libraries={"numpy": "2.0"}),
        "models": (card("teacher", "teacher"), card("student")),
        "measurements": (
            measured("teacher", "top1", 0.98, interval=Interval(low=0.97, high=0.99), n=360),
            measured("student", "latency_p50_ns", 4.81e5, axes=AXES, unstable="the sessions disagree"),
            missing("student", "energy_j", "no counter", hint="run as root"),
        ),
        "pairs": (
            Pair(metric="top1_drop", teacher="teacher", student="student", value=0.5),
            Pair(metric="latency_ratio", axes=AXES, teacher="teacher", student="student", value=5.0, n=60),
        ),
        "warnings": (Diagnostic(code="load", message="the machine was busy", model="student"),),
    }
    return RunRecord(**{**values, **changes})


texts = st.text(max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False)
intervals = st.tuples(numbers, numbers).map(lambda ends: Interval(low=min(ends), high=max(ends)))
axes = st.dictionaries(texts, st.one_of(st.integers(-(2**53), 2**53), texts), max_size=3)


@given(
    metric=st.sampled_from(sorted(METRICS)),
    value=st.floats(0, 1),
    interval=st.none() | intervals,
    axes=axes,
    n=st.none() | st.integers(0, 10**9),
    unstable=st.none() | st.text(min_size=1),
)
def test_a_measurement_survives_json(metric, value, interval, axes, n, unstable) -> None:
    measurement = measured("m", metric, value, axes=axes, interval=interval, n=n, unstable=unstable)
    assert Measurement.model_validate_json(measurement.model_dump_json()) == measurement
    assert Measurement.model_validate(json.loads(json.dumps(measurement.model_dump(mode="json")))) == measurement


def test_a_record_written_and_read_is_the_same(tmp_path) -> None:
    record().write(tmp_path / "record.json")
    assert RunRecord.read(tmp_path / "record.json") == record()
    assert RunRecord.read(tmp_path) == record()  # a run's folder will do


def test_a_record_is_written_with_a_line_for_each_model_and_result(tmp_path) -> None:
    warning = Diagnostic(code="load", message="other\u202e work\x1b[31m\n", model="student")
    unsafe, path = record(title="\u202eµ", warnings=(warning,), pairs=()), tmp_path / "record.json"
    unsafe.write(path)
    text = path.read_text()
    assert json.loads(text) == unsafe.to_json()
    assert text.isascii() or {*text} - {*map(chr, range(128))} == {"µ"}  # what is unsafe to display is escaped
    for one in (*unsafe.models, *unsafe.measurements, *unsafe.warnings):
        assert sum(json.loads(line.strip().rstrip(",")) == one.model_dump(mode="json") for line in _lines(text)) == 1
    assert RunRecord.read(path) == unsafe


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("    {")]


def test_results_share_the_names_of_their_given_fields_and_copies_do_not() -> None:
    first, second = (measured("a", "top1", value, interval=Interval(low=0, high=1)) for value in (0.5, 0.6))
    assert first.model_fields_set is second.model_fields_set
    assert first.interval.model_fields_set is second.interval.model_fields_set
    changed = first.model_copy(update={"hint": "x"})
    assert changed.model_fields_set == first.model_fields_set | {"hint"}
    assert "level" not in first.interval.model_fields_set
    assert Interval(low=0, high=1, level=0.9).model_fields_set == {"low", "high", "level"}


def test_a_record_is_valid_by_the_shipped_schema() -> None:
    schema = shipped_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(record().to_json(), schema)
    broken = {**record().to_json(), "measurements": [{"model": "student"}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_the_shipped_schema_is_in_step_with_the_code() -> None:
    """If this fails: write `record_schema()` to the file, and raise SCHEMA_VERSION if old readers would misread."""
    assert shipped_schema() == record_schema()


def shipped_schema() -> dict[str, object]:
    return json.loads(resources.files("kdbench.schemas").joinpath("record.schema.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_becomes_a_reason(value: float) -> None:
    measurement = measured("m", "loss", value)
    assert (measurement.status, measurement.value) == ("invalid", None)
    assert str(value) in (measurement.reason or "")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_refused_everywhere(value: float) -> None:
    with pytest.raises(ValidationError):
        Measurement(model="m", metric="loss", value=value, unit="nats")
    with pytest.raises(ValidationError):
        Interval(low=0.0, high=value)
    with pytest.raises(ValidationError):
        Pair(metric="size_ratio", teacher="t", student="s", value=value)


@pytest.mark.parametrize(
    "fields",
    [
        {"value": None},
        {"value": 1.0, "status": "unavailable", "reason": "no counter"},
        {"value": None, "status": "unavailable"},
        {"value": 1.0, "status": "unstable"},
        {"value": 1.0, "unit": "bits"},
        {"value": 1.0, "metric": "fps"},
        {"value": 1.0, "colour": "red"},
    ],
    ids=["no value", "value and none", "no reason", "unstable without reason", "unit", "metric", "unknown key"],
)
def test_a_measurement_that_does_not_hold_together_is_refused(fields) -> None:
    with pytest.raises(ValidationError):
        Measurement(**{"model": "m", "metric": "loss", "unit": "nats", **fields})


def test_what_is_upside_down_or_not_declared_is_refused() -> None:
    with pytest.raises(ValidationError, match="bounds are swapped"):
        Interval(low=2, high=1)
    with pytest.raises(ValidationError, match="not declared"):
        Pair(metric="top1", teacher="t", student="s", value=1.0)
    with pytest.raises(ValidationError, match="standard deviation"):
        Preprocessing(mean=(0.5,), std=(0.0,))
    with pytest.raises(ValidationError, match="2 means"):
        Preprocessing(mean=(0.5, 0.5), std=(1.0,))


def test_values_are_frozen() -> None:
    with pytest.raises(ValidationError):
        measured("m", "loss", 1.0).value = 2.0


@pytest.mark.parametrize(
    "changes",
    [
        {"measurements": (measured("stranger", "top1", 0.5),)},
        {"pairs": (Pair(metric="size_ratio", teacher="teacher", student="stranger", value=2.0),)},
        {"pairs": (Pair(metric="size_ratio", teacher="stranger", student="student", value=2.0),)},
    ],
)
def test_what_was_measured_has_a_card(changes) -> None:
    with pytest.raises(ValidationError, match="without a card: stranger"):
        record(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"measurements": (measured("student", "top1", 0.98), measured("student", "top1", 0.89))},
            "student has two different values of top1: 0.98 and 0.89",
        ),
        (
            {
                "measurements": (
                    measured("student", "latency_p50_ns", 4e5, axes={"batch": 1, "threads": 2}),
                    measured("student", "latency_p50_ns", 5e5, axes={"threads": 2, "batch": 1}),
                )
            },
            "student has two different values of latency_p50_ns, threads 2, batch 1",
        ),
        (
            {"measurements": (measured("student", "macs", 5), missing("student", "macs", "an unknown operator"))},
            "student has two different values of macs: 5.0 and None",
        ),
        (
            {
                "pairs": tuple(
                    Pair(metric="size_ratio", teacher="teacher", student="student", value=value) for value in (2, 3)
                )
            },
            "student to teacher has two different values of size_ratio",
        ),
    ],
)
def test_two_values_of_one_number_are_refused(changes, message) -> None:
    with pytest.raises(ValidationError, match=message):
        record(**changes)


def test_other_axes_are_another_number_and_a_repeated_value_does_no_harm() -> None:
    results = (
        measured("student", "latency_p50_ns", 4e5, axes={"batch": 1}),
        measured("student", "latency_p50_ns", 4e5, axes={"batch": 1}),
        measured("student", "latency_p50_ns", 5e5, axes={"batch": 2}),
        measured("student", "latency_p50_ns", 6e5),
        measured("teacher", "latency_p50_ns", 7e5, axes={"batch": 1}),
    )
    assert record(measurements=results).measurements == results


def test_two_models_of_one_id_are_refused() -> None:
    with pytest.raises(ValidationError, match="share an id"):
        record(models=(card("teacher"), card("teacher"), card("student")))


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ('{"schema": 99}', "schema 99", "with this version"),
        ("{}", "schema None", "with this version"),
        ("[1]", "schema None", "with this version"),
        ('{"schema": 1, "kind": "run"}', "not a valid record", "edited by hand"),
        ('{"schema": 1, "kind":', "not a readable record", "truncated"),
    ],
)
def test_a_file_that_is_no_record_of_this_version_is_refused_with_a_hint(tmp_path, content, message, hint) -> None:
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(InputError, match=message) as raised:
        RunRecord.read(tmp_path)
    assert hint in raised.value.hint


def test_nan_in_a_file_is_refused(tmp_path) -> None:
    content = json.dumps(record().to_json()).replace("0.98", "NaN")
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(InputError, match="NaN is not a JSON number"):
        RunRecord.read(tmp_path)


def test_a_record_that_is_not_there_is_an_input_error(tmp_path) -> None:
    with pytest.raises(InputError, match="no record"):
        RunRecord.read(tmp_path / "nowhere.json")


def test_a_result_is_looked_up_by_some_of_its_axes() -> None:
    sample = record()
    assert sample.find("student", "latency_p50_ns", batch=1) == sample.measurements[1]
    assert sample.find("student", "latency_p50_ns", batch=128) is None
    assert sample.find("teacher", "latency_p50_ns") is None
    assert sample.find_pair("student", "latency_ratio", threads=1) == sample.pairs[1]
    assert sample.find_pair("student", "latency_ratio", threads=2) is None
    assert sample.cards["student"].role == "student"


@pytest.mark.parametrize(
    ("metric", "value"), [("latency_p50_ns", -1.0), ("peak_memory_bytes", -1.0), ("top1", -0.1), ("top1", 93.9)]
)
def test_impossible_values_are_refused(metric, value):
    with pytest.raises(ValidationError, match="impossible"):
        measured("m", metric, value)
