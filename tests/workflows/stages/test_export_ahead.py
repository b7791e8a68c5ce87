"""Exports beside the trainings: where they cost nothing, what they answer, and that nobody is left."""

import io
import json
import sys
import time

import psutil
import pytest

from kdbench.files import storage
from kdbench.recipe.loading import recipe_of
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages import export_ahead as ahead_module
from kdbench.workflows.stages.export import PARITY_SAMPLES
from kdbench.workflows.stages.export_ahead import ExportAhead, export_ahead, is_safe_ahead
from kdbench.workflows.train import train
from kdbench.workflows.workers import export as export_worker

SMALL = {"name": "convnet", "widths": [4, 8]}


def content(**training):
    return {
        "name": "ahead",
        "data": {"name": "digits", "validation": 0.5},
        "training": {"epochs": 30, "threads": 1, **training},
        "measure": {"energy": "off"},
        "teacher": [{"name": "teacher", "model": SMALL}],
        "student": [{"name": "student", "model": SMALL}],
    }


@pytest.fixture
def answering(monkeypatch, tmp_path):
    """Start the process with these lines of Python in place of the exporter's, which read stdin as `lines`."""

    def start(lines):
        script = f"import json, sys, time\nlines = map(json.loads, iter(sys.stdin.readline, ''))\n{lines}"
        monkeypatch.setattr(ahead_module, "WORKER", (sys.executable, "-c", script))
        return ExportAhead(ahead_module._start())

    before = set(psutil.Process().children())
    yield start
    assert set(psutil.Process().children()) <= before, "nobody is left"


def test_it_costs_nothing_where_trainings_leave_a_core_free(monkeypatch):
    monkeypatch.setattr(ahead_module, "available_cores", lambda: (0, 1))
    assert is_safe_ahead(recipe_of(content()))
    assert not is_safe_ahead(recipe_of(content(threads=2)))
    assert not is_safe_ahead(recipe_of(content(threads=None)))
    monkeypatch.setattr(ahead_module, "available_cores", lambda: (0,))
    assert not is_safe_ahead(recipe_of(content()))


@pytest.mark.parametrize(
    "keys",
    [
        {"plugins": ["mynets.py"]},
        {"training": {"epochs": 3, "threads": 1}},
        {"teacher": [{"name": "teacher", "model": {"name": "mine:Net"}}]},
        {"measure": {"energy": "quick", "estimate_energy": True}},
    ],
    ids=["plug-ins", "short", "user code", "metered"],
)
def test_it_does_not_where_it_would_change_or_delay_something(monkeypatch, keys):
    monkeypatch.setattr(ahead_module, "available_cores", lambda: (0, 1, 2, 3))
    assert not is_safe_ahead(recipe_of({**content(), **keys}))


def test_answers_come_in_any_order_and_what_a_library_prints_is_no_answer(answering, tmp_path):
    ahead = answering("""
next(lines)
first, second = next(lines)["job"], next(lines)["job"]
print("a library's own words")
print(json.dumps({"job": second, "written": {"parameters": 2}}))
print(json.dumps({"job": first, "written": {"parameters": 1}}), flush=True)
""")
    for job in ("a", "b"):
        ahead.request(job, RunFolder(tmp_path))
    assert [ahead.written(job) for job in ("a", "b")] == [{"parameters": 1}, {"parameters": 2}]
    ahead.end()


def test_what_fails_or_was_not_asked_for_is_left_to_the_run(answering, tmp_path):
    ahead = answering("next(lines); print(json.dumps({'job': next(lines)['job'], 'written': None}), flush=True)")
    ahead.request("a", RunFolder(tmp_path))
    assert ahead.written("a") is None
    assert ahead.written("b") is None
    ahead.end()


def test_a_process_that_ended_leaves_everything_to_the_run(answering, tmp_path):
    ahead = answering("sys.exit(1)")
    ahead.request("a", RunFolder(tmp_path))
    assert ahead.written("a") is None
    ahead.request("b", RunFolder(tmp_path))
    assert ahead.written("b") is None


def test_the_end_of_the_context_ends_it_in_the_middle_of_an_export(answering, monkeypatch, tmp_path):
    ahead = answering("time.sleep(60)")
    ahead.request("a", RunFolder(tmp_path))
    began = time.monotonic()
    ahead.end()
    assert time.monotonic() - began < 30


def test_without_a_process_nothing_is_exported_ahead(tmp_path):
    with export_ahead(recipe_of(content(threads=None))) as ahead:
        ahead.request("a", RunFolder(tmp_path))
        assert ahead.written("a") is None


def test_the_process_writes_the_file_and_says_how_far_it_is_from_the_network(monkeypatch, tmp_path, capsys):
    folder = RunFolder(train(recipe_of(content(epochs=1)), tmp_path / "out"))
    monkeypatch.setattr(export_worker, "_load_exporter", lambda: None)
    storage.make_folder(folder.path / "models")
    requests = [{"folder": str(folder.path)}, {"job": "student"}, {"job": "nobody"}]
    export_worker.main(map(json.dumps, requests))
    student, nobody = map(json.loads, io.StringIO(capsys.readouterr().out))
    assert student["job"] == "student"
    parity = student["written"]["parity"]
    assert parity["max_abs"] <= parity["tolerance"]
    assert parity["samples"] == PARITY_SAMPLES
    weights = sum(array.numel() for array in _weights(folder, "student"))
    assert student["written"]["parameters"] == weights
    assert folder.model("student").exists()
    assert nobody == {"job": "nobody", "written": None}


def _weights(folder, job):
    """Return a job's trained weights without batch norm's statistics."""
    from safetensors.torch import load_file

    stored = load_file(folder.checkpoint(job) / "weights.safetensors")
    return [array for name, array in stored.items() if "running_" not in name and "num_batches" not in name]
