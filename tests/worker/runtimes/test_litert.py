"""LiteRT runs a .tflite file in its own layout and type, in XNNPACK or not at all."""

from types import SimpleNamespace

import numpy as np
import pytest

from kdbench.worker.jobs import JobModel

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")

from ai_edge_litert.interpreter import OpResolverType
from small_tflite import tflite_of

from kdbench.worker.runtimes import ProviderError, litert, runtime

SHAPE = (3, 2, 4)  # channels first, as the ONNX file has it
LAST = (2, 4, 3)
RNG = np.random.default_rng(0)
WEIGHTS = RNG.integers(-9, 9, (5, 24))


@pytest.fixture
def model(tmp_path):
    def make(shape=LAST, **options) -> JobModel:
        (tmp_path / "m.tflite").write_bytes(tflite_of(WEIGHTS, shape, **options))
        ends = {"input": "x", "output": "y", "dtype": "float32", "layout": "NCHW", "shape": SHAPE, "fixed_batch": None}
        return JobModel(id="m", path="m.onnx", files={".tflite": str(tmp_path / "m.tflite")}, **ends)

    return make


def load(model, **settings):
    return litert.LoadedModel(model, **{"provider": "cpu", "threads": 1} | settings)


def inputs_of(batch):
    return RNG.standard_normal((batch, *SHAPE), np.float32)


def last(x):
    return np.moveaxis(x, 1, -1)


@pytest.mark.parametrize("batch", [1, 4])
def test_channels_are_moved_to_where_the_file_has_them_at_its_own_batch(model, batch):
    x = inputs_of(6)
    assert load(model(batch=batch))(x) == pytest.approx(last(x).reshape(6, -1) @ WEIGHTS.T, abs=1e-3)


def test_a_file_with_the_models_own_layout_gets_inputs_as_they_are(model):
    x = inputs_of(2)
    assert load(model(shape=SHAPE))(x) == pytest.approx(x.reshape(2, -1) @ WEIGHTS.T, abs=1e-3)


def test_another_shape_is_refused(model):
    with pytest.raises(ValueError, match="takes samples of shape"):
        load(model(shape=(2, 3, 4)))(inputs_of(1))


def test_integers_are_rounded_before_and_scaled_after(model):
    x = np.clip(inputs_of(3), -2, 2)
    rounded = np.rint(last(x).reshape(3, -1) / 0.02) * 0.02
    expected = rounded @ (WEIGHTS * 0.5).T
    assert load(model(scales=(0.02, 0.5, 1.0)))(x) == pytest.approx(expected, abs=0.51)
    assert np.abs(expected).max() > 5


@pytest.mark.parametrize("options", [{}, {"reshaped": True}])
def test_timed_calls_take_each_input_in_turn_at_their_batch(model, options):
    loaded, different = load(model(**options)), [inputs_of(4), inputs_of(4)]
    run, arguments = loaded.bind(different)
    place = loaded._interpreters[4].get_output_details()[0]["index"]
    for x, feed in zip(different, arguments, strict=True):
        run(*feed)
        assert loaded._interpreters[4].get_tensor(place) == pytest.approx(last(x).reshape(4, -1) @ WEIGHTS.T, abs=1e-3)


def test_the_delegate_is_named_and_required(model, monkeypatch):
    assert load(model()).kernels() == {"XNNPACK partitions": 1, "float32": 1}
    plain, resolver = litert.Interpreter, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    monkeypatch.setattr(
        litert, "Interpreter", lambda *args, **more: plain(*args, experimental_op_resolver_type=resolver, **more)
    )
    with pytest.raises(ProviderError, match="XNNPACK runs no part"):
        load(model())


def test_threads_are_counted(model, monkeypatch):
    load(model(), threads=2)
    monkeypatch.setattr(litert, "Interpreter", lambda path, num_threads, it=litert.Interpreter: it(path, num_threads=1))
    with pytest.raises(ProviderError, match="started 0 threads"):
        load(model(), threads=2)


def test_a_file_that_cannot_be_prepared_has_the_interpreters_reason(model, tmp_path):
    description = model()
    content = tflite_of(WEIGHTS[:, :-1], LAST)  # weights for one value less
    (tmp_path / "m.tflite").write_bytes(content)
    with pytest.raises(RuntimeError, match="failed to prepare"):
        load(description)


@pytest.mark.parametrize(
    ("names", "scored"), [(["y"], 0), (["z"], 0), (["f", "call_y:0"], 1), (["call:10", "y_1", "y"], 2)]
)
def test_of_several_outputs_the_one_with_the_models_name_is_scored(model, names, scored):
    outputs = [{"name": name} for name in names]
    interpreter = SimpleNamespace(get_input_details=lambda: [{}], get_output_details=lambda: outputs)
    assert litert._ends(interpreter, model())[1] is outputs[scored]


@pytest.mark.parametrize("names", [["f", "g"], ["y_0", "y_1"]])
def test_outputs_that_cannot_be_told_apart_are_refused(model, names):
    outputs = [{"name": name} for name in names]
    interpreter = SimpleNamespace(get_input_details=lambda: [{}], get_output_details=lambda: outputs)
    with pytest.raises(ValueError, match=r"1 inputs and 2 outputs, [02] of them with 'y' in its name"):
        litert._ends(interpreter, model())


def test_what_it_cannot_do_is_refused(model):
    with pytest.raises(ProviderError, match="not on cuda"):
        load(model(), provider="cuda")
    with pytest.raises(ValueError, match=r"no \.tflite"):
        load(JobModel("m", "m.onnx", "x", "y", "float32", "NCHW", SHAPE, None))


def test_facts_name_the_delegate():
    assert "XNNPACK" in runtime("litert").facts("cpu")["delegate"]
