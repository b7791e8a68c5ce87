"""OpenVINO computes what onnxruntime does, with the settings that were asked for or not at all."""

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from small_graphs import model_of

from kdbench.worker.jobs import JobModel

pytest.importorskip("openvino", reason="openvino is not installed")

from kdbench.worker.runtimes import ProviderError, openvino, runtime
from kdbench.worker.runtimes.onnxruntime import LoadedModel as Usual

RNG = np.random.default_rng(0)
WEIGHTS = RNG.standard_normal((5, 3, 3, 3), np.float32)
SHAPE = (3, 6, 6)


@pytest.fixture
def convolution(tmp_path):
    """Return a small network as a job's model; keywords are its fields."""

    def make(inputs=(("x", ["n", *SHAPE]),), **fields) -> JobModel:
        nodes = [
            ("Conv", ["x", "w"], ["c"], {}),
            ("Relu", ["c"], ["r"], {}),
            ("GlobalAveragePool", ["r"], ["p"], {}),
            ("Flatten", ["p"], ["y"], {}),
        ]
        onnx.save(model_of(nodes, {"w": WEIGHTS}, dict(inputs)), tmp_path / "m.onnx")
        usual = {"id": "m", "path": str(tmp_path / "m.onnx"), "input": "x", "output": "y", "dtype": "float32"}
        return JobModel(**usual | {"layout": "NCHW", "shape": SHAPE, "fixed_batch": None} | fields)

    return make


def inputs_of(batch: int) -> np.ndarray:
    return RNG.standard_normal((batch, *SHAPE), np.float32)


def answer_of(returned: dict) -> np.ndarray:
    """Return a copy of the only output of a call."""
    (output,) = returned.values()
    return np.array(output)


def test_answers_are_onnxruntimes_at_every_batch(convolution):
    ours, usual = (load(convolution(), provider="cpu", threads=1) for load in (openvino.LoadedModel, Usual))
    for batch in (1, 7, 1):
        x = inputs_of(batch)
        assert ours(x) == pytest.approx(usual(x), abs=1e-5)
    first, second = inputs_of(1), inputs_of(1)
    kept = ours(first)
    ours(second)
    assert kept == pytest.approx(usual(first), abs=1e-5)  # the request's memory is not what a call returns


def test_timed_calls_take_each_input_in_turn_through_one_request(convolution):
    loaded = openvino.LoadedModel(convolution(), provider="cpu", threads=1)
    different = [inputs_of(2), inputs_of(2)]
    run, arguments = loaded.bind(different)
    answers = [answer_of(run(*feeds)) for feeds in arguments]
    assert answers[0] == pytest.approx(loaded(different[0]))
    assert answers[1] == pytest.approx(loaded(different[1]))
    assert run.__self__ is loaded.bind(different)[0].__self__  # one request


def test_placeholders_get_zeros(convolution):
    model = convolution(inputs=(("x", ["n", *SHAPE]), ("unused", ["n", 4])))
    x = inputs_of(3)
    run, ((feed, *rest),) = openvino.LoadedModel(model, provider="cpu", threads=1).bind([x])
    assert answer_of(run(feed, *rest)) == pytest.approx(Usual(model, provider="cpu", threads=1)(x), abs=1e-5)
    assert sorted(np.abs(tensor.data).sum() > 0 for tensor in feed.values()) == [False, True]


def test_no_layer_computes_in_reduced_precision(convolution):
    kernels = openvino.LoadedModel(convolution(), provider="cpu", threads=1).kernels()
    assert set(kernels) == {"f32"}


@pytest.mark.parametrize(
    ("changed", "says"),
    [({"INFERENCE_NUM_THREADS": 9}, "INFERENCE_NUM_THREADS 9, not 1"), ({"NUM_STREAMS": 2}, "NUM_STREAMS 2, not 1")],
)
def test_settings_that_openvino_changes_are_refused(convolution, monkeypatch, changed, says):
    core = openvino.openvino.Core

    class Stubborn:
        def __init__(self):
            self.read_model = core().read_model

        def compile_model(self, model, device, settings):
            compiled = core().compile_model(model, device, settings)
            return SimpleNamespace(get_property=lambda name: changed.get(name, compiled.get_property(name)))

    monkeypatch.setattr(openvino.openvino, "Core", Stubborn)
    with pytest.raises(ProviderError, match=says):
        openvino.LoadedModel(convolution(), provider="cpu", threads=1)


def test_reduced_precision_is_refused(convolution, monkeypatch):
    monkeypatch.setattr(openvino, "_precision", lambda layer: "bf16" if "Conv" in type_of(layer) else "")
    with pytest.raises(ProviderError, match=r"1 layers in reduced precision \(bf16\)"):
        openvino.LoadedModel(convolution(), provider="cpu", threads=1)


def type_of(layer) -> str:
    return str(layer.get_rt_info()["layerType"].astype(str))


def test_a_float16_file_is_computed_in_float32(tmp_path, convolution):
    job = convolution(dtype="float16")
    onnx.save(to_half(onnx.load(job.path)), job.path)
    x = inputs_of(7).astype(np.float16)
    ours, usual = (load(job, provider="cpu", threads=1)(x) for load in (openvino.LoadedModel, Usual))
    assert ours.dtype == usual.dtype == np.float16
    assert ours == pytest.approx(usual, abs=2e-3)


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model of float32 with its input, weights and output in float16."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    for tensor in model.graph.initializer:
        half = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, tensor.name))
    return model


def test_more_threads_than_cores_are_refused(convolution):
    with pytest.raises(ProviderError, match="INFERENCE_NUM_THREADS"):
        openvino.LoadedModel(convolution(), provider="cpu", threads=4096)


def test_another_device_is_refused(convolution):
    with pytest.raises(ProviderError, match="not on cuda"):
        openvino.LoadedModel(convolution(), provider="cuda", threads=1)


def test_a_file_that_it_cannot_convert_is_a_fault(tmp_path, convolution):
    onnx.save(model_of([("Det", ["x"], ["y"], {})], {}, {"x": ["n", 3, 3]}), tmp_path / "m.onnx")
    model = JobModel("m", str(tmp_path / "m.onnx"), "x", "y", "float32", "other", (3, 3), None)
    with pytest.raises(openvino.FAULTS, match="Det"):
        openvino.LoadedModel(model, provider="cpu", threads=1)


def test_facts_name_every_setting():
    facts = runtime("openvino").facts("cpu")
    assert facts["settings"]["INFERENCE_PRECISION_HINT"] == "f32"
    assert facts["settings"].keys() == dict(openvino._SETTINGS).keys()
