from pathlib import Path

import pytest

from kdbench.distill.tracker import Tracker
from kdbench.distill.trackers import TRACKERS
from kdbench.errors import InputError
from kdbench.progress import Silent
from kdbench.results.records import RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.log import facts_of, log_results, ratios_of, require_loggers, values_of

RECORD = Path(__file__).parent.parent.parent / "records" / "digits.json"


class Listed(Tracker):
    """Keeps what it is told; `fails` names the method that raises."""

    log: list
    fails = ""

    def begin(self, curve):
        self._note("begin", list(curve))

    def extend(self, curve):
        raise AssertionError("results have no epochs")

    def results(self, values):
        self._note("results", dict(values))

    def close(self, *, complete):
        self._note("close", complete)

    def _note(self, name, value):
        if name == self.fails:
            raise RuntimeError(f"no {name}")
        self.log.append((self.model.id, name, value))


@pytest.fixture
def listed(monkeypatch):
    kind = type("Kind", (Listed,), {"log": []})
    get = TRACKERS.get
    monkeypatch.setattr(TRACKERS, "get", lambda name: kind if name == "listed" else get(name))
    return kind


@pytest.fixture
def record():
    return RunRecord.read(RECORD)


def test_values_are_named_by_metric_and_axes(record):
    card = record.models[0].id
    measured = [m for m in record.measurements if m.model == card and m.value is not None]
    values = values_of(record, card)
    assert sorted(values.values()) == sorted(m.value for m in measured)
    assert values["top1"] == next(m.value for m in measured if m.metric == "top1" and not m.axes)
    assert any(name.startswith("latency_p50_ns/") and "threads-1" in name for name in values)


def test_every_model_is_logged_with_its_values_and_ratios(listed, record, tmp_path):
    log_results(record, RunFolder(tmp_path), ["listed", "listed"], Silent())
    assert [(model, name) for model, name, _ in listed.log] == [
        (card.id, name) for card in record.models for name in ("begin", "results", "close")
    ]
    logged = {model: values for model, name, values in listed.log if name == "results"}
    speed_up = next(p for p in record.pairs if p.student == "student-kd" and p.metric == "latency_ratio")
    name = next(name for name in ratios_of(record, "student-kd") if name.startswith("latency_ratio/teacher-teacher/"))
    assert logged["student-kd"][name] == speed_up.value
    assert not ratios_of(record, "teacher")
    assert logged["teacher"] == values_of(record, "teacher")


def test_facts_say_which_file_was_measured_and_how(record):
    card = record.models[1]
    facts = facts_of(record, card)
    assert facts["model.sha256"] == card.sha256
    assert facts["model.parameters"] == card.parameters
    assert facts["command"] == record.command
    assert facts["libraries.onnxruntime"] == record.environment.libraries["onnxruntime"]
    assert all(isinstance(value, str | int | float) for value in facts.values())


@pytest.mark.parametrize("method", ["begin", "results", "close"])
def test_a_tracker_that_fails_is_an_error_which_says_where_the_results_are(listed, record, tmp_path, method):
    listed.fails = method
    with pytest.raises(InputError, match=f"no {method}") as caught:
        log_results(record, RunFolder(tmp_path), ["listed"], Silent())
    assert str(tmp_path) in caught.value.hint


def test_a_tracker_that_there_is_not_is_refused_ahead():
    with pytest.raises(InputError) as caught:
        require_loggers(["mlfow"])
    assert "'mlflow'" in caught.value.hint
