"""tflite-micro answers like the file's arithmetic by hand, and counts the memory that it plans."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kdbench.modelfile.formats.tflite import output_step
from kdbench.worker.jobs import JobModel

pytest.importorskip("tflite_micro", reason="tflite-micro is not installed")
pytest.importorskip("ai_edge_litert", reason="ai-edge-litert, whose schema the test's file is written with, is missing")

from small_tflite import tflite_of
from tflite_micro.python.tflite_micro import runtime as library

from kdbench.worker.runtimes import ProviderError, runtime, tflite_micro

SHAPE, LAST = (3, 2, 4), (2, 4, 3)
RNG = np.random.default_rng(0)
WEIGHTS = RNG.integers(-9, 9, (5, 24))


@pytest.fixture
def model(tmp_path):
    def make(**options) -> JobModel:
        (tmp_path / "m.tflite").write_bytes(tflite_of(WEIGHTS, LAST, **options))
        ends = {"input": "x", "output": "y", "dtype": "float32", "layout": "NCHW", "shape": SHAPE, "fixed_batch": None}
        return JobModel(id="m", path="m.onnx", files={".tflite": str(tmp_path / "m.tflite")}, **ends)

    return make


def load(model, **settings):
    return tflite_micro.LoadedModel(model, **{"provider": "cpu", "threads": 1} | settings)


def flat(x):
    return np.moveaxis(x, 1, -1).reshape(len(x), -1)


@pytest.mark.parametrize("batch", [1, 4])
def test_floats_are_computed_at_the_files_own_batch(model, batch):
    x = RNG.standard_normal((6, *SHAPE), np.float32)
    assert load(model(batch=batch))(x) == pytest.approx(flat(x) @ WEIGHTS.T, abs=1e-3)


def test_integers_are_rounded_before_and_scaled_after(model):
    x = np.clip(RNG.standard_normal((3, *SHAPE), np.float32), -2, 2)
    loaded = load(model(scales=(0.02, 0.5, 1.0)))
    expected = np.rint(flat(x) / 0.02) * 0.02 @ (WEIGHTS * 0.5).T
    assert np.abs(expected).max() > 5
    assert loaded(x) == pytest.approx(expected, abs=0.51)
    assert loaded.properties()["output_step"] == 1.0


def test_integers_between_floats_are_rounded_alike_and_their_step_is_in_the_file(model):
    x = np.clip(RNG.standard_normal((3, *SHAPE), np.float32), -2, 2)
    scales = (0.02, 0.5, 1.0)
    expected = load(model(scales=scales))(x)
    of = model(scales=scales, ends=np.float32)
    loaded = load(of)
    np.testing.assert_array_equal(loaded(x), expected)
    assert loaded.properties()["output_step"] == 0
    assert output_step(Path(of.files[".tflite"])) == 1.0


@pytest.mark.parametrize("options", [{}, {"scales": (0.02, 0.5, 1.0)}, {"reshaped": True}])
def test_other_outputs_have_no_step_in_the_file(model, options):
    assert output_step(Path(model(**options).files[".tflite"])) == 0


@pytest.mark.parametrize("content", [b"", b"\x1c\0\0\0TFL3", b"\xff" * 64])
def test_a_damaged_file_has_no_step(tmp_path, content):
    (tmp_path / "m.tflite").write_bytes(content)
    assert output_step(tmp_path / "m.tflite") == 0


def test_the_arena_holds_what_it_says_and_the_activations_at_least(model, tmp_path):
    of = model(batch=64)
    arena = load(of).properties()["arena_bytes"]
    content = (tmp_path / "m.tflite").read_bytes()
    assert arena > 64 * (24 + 5) * 4  # input and output are alive at once
    library.Interpreter.from_bytes(content, arena_size=int(1.1 * arena) + 1024)
    with pytest.raises(RuntimeError):
        library.Interpreter.from_bytes(content, arena_size=64 * (24 + 5) * 4)
    assert load(model(batch=128)).properties()["arena_bytes"] - arena == pytest.approx(64 * (24 + 5) * 4, rel=0.05)


def test_a_file_that_cannot_be_prepared_has_the_librarys_reason(model, capfd):
    with pytest.raises(RuntimeError, match="'WHERE'"):
        load(model(operator="WHERE"))
    assert not capfd.readouterr().err


def test_a_call_that_fails_has_the_librarys_reason(model, monkeypatch):
    def invoke():
        os.write(2, b"Only int32 is supported.\n \n")
        raise RuntimeError("invocation failed")

    loaded = load(model())
    monkeypatch.setattr(loaded, "_interpreter", SimpleNamespace(set_input=lambda *_: None, invoke=invoke))
    with pytest.raises(RuntimeError, match=r"^invocation failed; Only int32 is supported\.$"):
        loaded(np.zeros((1, *SHAPE), np.float32))


def test_what_it_cannot_do_is_refused(model):
    with pytest.raises(ProviderError, match="not on cuda"):
        load(model(), provider="cuda")
    with pytest.raises(ValueError, match=r"no \.tflite"):
        load(JobModel("m", "m.onnx", "x", "y", "float32", "NCHW", SHAPE, None))
    with pytest.raises(RuntimeError, match="cannot be measured"):
        load(model()).bind([np.zeros((1, *SHAPE), np.float32)])
    assert "no times" in runtime("tflite-micro").facts("cpu")["kernels"]
