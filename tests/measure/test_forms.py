"""Where the .tflite file of a model comes from: beside it, or from a converter in its own environment."""

import dataclasses
import stat

import pytest

from kdbench.measure.bench_model import Refusal
from kdbench.measure.forms import PYTHON, file_in
from kdbench.worker.jobs import JobModel


@pytest.fixture
def model(tiny, bench_model):
    return bench_model(tiny("m"))  # in tmp_path


@pytest.fixture
def job(model):
    return JobModel("m", str(model.path), "input", "logits", "float32", "NCHW", (1, 4, 4), None)


@pytest.fixture
def converter(tmp_path, monkeypatch):
    """Set a converter: a shell script that is called as Python would be."""

    def write(body: str) -> None:
        script = tmp_path / "python"
        script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{body}\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv(PYTHON, str(script))

    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(PYTHON, raising=False)
    return write


def test_a_file_that_lies_beside_it_is_taken(model, job, converter, tmp_path):
    converter("exit 1")
    (tmp_path / "m.tflite").write_bytes(b"mine")
    assert file_in(".tflite", model, job) == tmp_path / "m.tflite"


def test_without_a_file_and_a_converter_the_reason_says_what_helps(model, job, converter):
    refusal = file_in(".tflite", model, job)
    assert "m.tflite" in refusal.reason
    assert PYTHON in str(refusal.hint)


def test_a_converted_file_is_kept(model, job, converter, tmp_path):
    converter('printf made > "$4"')
    first = file_in(".tflite", model, job)
    assert first.read_text() == "made"
    assert file_in(".tflite", model, job) == first
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert call.split()[-3:] == ["logits", "1,1,4,4", "NCHW"]
    other = dataclasses.replace(job, output="other")
    assert file_in(".tflite", model, other) != first


def test_relative_paths_are_converted(model, job, converter, tmp_path, monkeypatch):
    converter('test -f "$3" && printf made > "$4"')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PYTHON, "./python")
    relative = dataclasses.replace(model, path=model.path.relative_to(tmp_path))
    assert file_in(".tflite", relative, job).read_text() == "made"


@pytest.mark.parametrize(
    ("body", "says"), [("echo first >&2; echo 'Foo is not translated' >&2; exit 1", "Foo is not"), ("exit 3", "code 3")]
)
def test_a_converter_that_fails_leaves_its_last_line(model, job, converter, tmp_path, body, says):
    converter(body)
    refusal = file_in(".tflite", model, job)
    assert isinstance(refusal, Refusal)
    assert says in refusal.reason
    assert refusal.status == "error"
    assert not list((tmp_path / "cache").rglob("*.tflite"))


def test_a_converter_that_is_not_there_is_named(model, job, converter, monkeypatch):
    monkeypatch.setenv(PYTHON, "/nowhere/python")
    assert "/nowhere/python" in file_in(".tflite", model, job).reason
