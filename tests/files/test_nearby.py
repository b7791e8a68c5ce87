"""Which existing path a path that leads nowhere most likely means."""

from pathlib import Path

import pytest

from kdbench.files.nearby import expected_at, nearest_path


def is_model(path: Path) -> bool:
    return path.suffix == ".onnx"


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("models/student.onnx", "models/teacher.onnx", "models/student.txt", "x/Other.onnx"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("models/studnet.onnx", "models/student.onnx"),
        ("model/student.onnx", "models/student.onnx"),  # a folder above it
        ("models/student", "models/student.onnx"),
        ("models/student.pt2", "models/student.onnx"),
        ("models/student.txt2", "models/student.onnx"),  # not student.txt, which is no model
        ("models/../models/teachr.onnx", "models/../models/teacher.onnx"),
        ("x/other.onnx", "x/Other.onnx"),
        ("models/quantized.onnx", None),
        ("elsewhere/student.onnx", None),
        ("", None),
        ("models/a\0b.onnx", None),
        (f"models/{'a' * 300}.onnx", None),
        ("models/student.onnx/student.onnx", None),  # a file has no entries
    ],
)
def test_the_nearest_path(typed, meant):
    assert nearest_path(Path(typed), is_model) == (None if meant is None else Path(meant))


def test_an_absolute_path_stays_one(tmp_path):
    assert nearest_path(tmp_path / "model" / "teacher.onx", is_model) == tmp_path / "models" / "teacher.onnx"


def test_the_hint_says_what_is_expected_and_what_was_meant():
    assert expected_at(Path("models/quantized"), "name a model", is_model) == "name a model"
    assert expected_at(Path("models/Student"), "name a model", is_model) == (
        "name a model; did you mean 'models/student.onnx'?"
    )
