"""The index of a record: the results that a search over all of them finds, and nothing of a former state."""

import pytest

from kdbench.errors import InputError
from kdbench.results.cards import ModelCard
from kdbench.results.records import Environment, RunRecord, measured
from kdbench.results.records.index import ResultIndex, once_per_record


def record(*measurements):
    cards = [
        ModelCard(id=x, name=x, role="student", file="", sha256="", input_shape=(1,), classes=2, parameters=1)
        for x in "ab"
    ]
    environment = Environment(host={}, libraries={})
    return RunRecord(
        kind="run", name="r", created="", command="", environment=environment, models=cards, measurements=measurements
    )


@pytest.fixture
def run():
    at = [{"batch": 1}, {}, {"batch": 1, "threads": 2}, {"batch": 8, "threads": 2}, {"threads": 2}]
    latencies = [measured(x, "latency_p50_ns", 1.0 + i, axes=axes) for i, axes in enumerate(at) for x in "ab"]
    return record(*latencies, measured("a", "top1", 0.5), measured("b", "top1", 0.6, axes={"part": "train"}))


@pytest.mark.parametrize(
    "axes",
    [{}, {"batch": 1}, {"threads": 2}, {"batch": 8}, {"threads": 2, "batch": 1}, {"batch": 2}, {"part": "train"}],
)
@pytest.mark.parametrize("metric", ["latency_p50_ns", "top1", "loss"])
@pytest.mark.parametrize("model", ["a", "b", "c"])
def test_the_nearest_is_the_one_that_a_search_over_all_finds(run, model, metric, axes):
    fitting = [m for m in run.measurements if (m.model, m.metric) == (model, metric) and axes.items() <= m.axes.items()]
    assert run.find(model, metric, **axes) is min(fitting, key=lambda m: len(m.axes), default=None)


def test_results_of_several_metrics_keep_the_records_order(run):
    index = run.measurement_index
    assert index.having("top1", "latency_p50_ns", "loss") == list(run.measurements)
    assert index.of("a", "latency_p50_ns") == tuple(m for m in run.measurements[:10] if m.model == "a")
    assert index.for_model("b") == tuple(m for m in run.measurements if m.model == "b")
    assert (index.has("loss"), index.has("loss", "top1")) == (False, True)


def test_among_many_axes_the_first_result_at_exactly_these_is_found():
    classes = [measured("a", "class_top1", place / 100, axes={"class": place}) for place in (*range(40), 7)]
    run = record(*classes, measured("a", "class_top1", 0.99, axes={"class": 50, "part": "train"}))
    assert [run.find("a", "class_top1", **{"class": place}).value for place in (7, 39)] == [0.07, 0.39]
    assert run.find("a", "class_top1", **{"class": 50}).value == 0.99
    assert run.find("a", "class_top1", **{"class": 41}) is None


def test_a_model_is_found_again_after_many_others(run, monkeypatch):
    monkeypatch.setattr("kdbench.results.records.index._RECENT", 1)
    assert [run.find(model, "top1").value for model in "abab"] == [0.5, 0.6, 0.5, 0.6]


def test_of_two_results_at_the_same_axes_the_first_is_found():
    results = [measured("a", "top1", 0.5), measured("a", "top1", 0.7)]
    index = ResultIndex(results, lambda measurement: measurement.model)
    assert index.nearest("a", "top1", {}) is results[0]


def test_a_copy_with_other_results_finds_those(run):
    count = once_per_record(lambda record: len(record.measurements))
    assert run.find("a", "top1").value == 0.5
    assert count(run) == 12
    copy = run.model_copy(update={"measurements": (measured("a", "top1", 0.9),)})
    assert copy.find("a", "top1").value == 0.9
    assert copy.hash() != run.hash()
    assert count(copy) == 1
    assert count(run) == 12


def test_what_was_computed_changes_neither_equality_nor_content(run):
    other = RunRecord.model_validate(run.to_json())
    run.find("a", "top1")
    run.hash()
    assert run == other
    assert run.to_json() == other.to_json()


def test_a_value_is_computed_once_per_record(run):
    seen = []
    once = once_per_record(lambda record: seen.append(record) or len(seen))
    assert [once(run), once(run), once(run.model_copy())] == [1, 1, 2]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "123456789012345678901234567890"])
def test_a_number_that_cannot_be_written_again_is_refused_wherever_it_is(run, tmp_path, number):
    copy = run.model_copy(update={"protocol": {"cores": [271828]}})
    (tmp_path / "record.json").write_text(copy.model_dump_json(by_alias=True).replace("271828", number))
    with pytest.raises(InputError, match=r"record\.json"):
        RunRecord.read(tmp_path)


def test_a_record_without_a_schema_number_is_refused(run, tmp_path):
    (tmp_path / "record.json").write_text(run.model_dump_json(by_alias=True).replace('"schema":1,', ""))
    with pytest.raises(InputError, match="schema None"):
        RunRecord.read(tmp_path)
