import numpy as np
import onnx
import pytest
from compress.networks import CLASSES, convolutional
from onnx import TensorProto, helper, numpy_helper

from kdbench.compress import COMPRESSORS, Calibration, Source
from kdbench.errors import InputError
from kdbench.macs.onnx_counter import count_onnx
from kdbench.modelfile.facts import read_facts
from kdbench.results.cards import CalibrationSet
from kdbench.worker.runtimes.onnxruntime import session_options

IMAGES = np.random.default_rng(1).standard_normal((24, 3, 8, 8)).astype(np.float32)
CALIBRATION = Calibration(IMAGES, CalibrationSet(data="noise", count=24, seed=0, sha256="0" * 64))


def compressed(path, **settings):
    target = path.with_name(f"{path.stem}-int8.onnx")
    source = Source(path, read_facts(path), CALIBRATION)
    return target, COMPRESSORS.get("int8")(**settings).compress(source, target)


def logits(path, batch=24):
    import onnxruntime

    options = session_options(1, spinning=False, fallback=True)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"x": IMAGES[i : i + batch]})[0] for i in range(0, 24, batch)])


def snr(path, batch=24):
    exact, changed = logits(path, batch), logits(path.with_name(f"{path.stem}-int8.onnx"), batch)
    return 10 * np.log10(np.sum(exact**2) / np.sum((exact - changed) ** 2))


def in_external_data(path):
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights", size_threshold=0)
    return path


def with_weights_as_inputs(path):
    """Write the model as files before IR version 4 are."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    model.ir_version = 3
    onnx.save(model, path)
    return path


def with_bias_added(path):
    """Write the last layer as MatMul and Add of a row, which fusion turns into a Gemm with a bias of two axes."""
    model = onnx.load(path)
    del model.graph.node[-1]
    model.graph.node.append(helper.make_node("MatMul", ["f", "w3"], ["p"], name="last"))
    model.graph.node.append(helper.make_node("Add", ["p", "b3"], ["y"], name="bias"))
    row = next(tensor for tensor in model.graph.initializer if tensor.name == "b3")
    row.dims[:] = [1, CLASSES]
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("made", "batch"),
    [
        (convolutional, 24),
        (lambda path: convolutional(path, opset=9), 24),
        (lambda path: convolutional(path, batch=3, named=False), 3),
        (lambda path: convolutional(path, side="side"), 24),
        (lambda path: in_external_data(convolutional(path)), 24),
        (lambda path: with_weights_as_inputs(convolutional(path, opset=8)), 24),
        (lambda path: with_bias_added(convolutional(path)), 24),
    ],
    ids=["plain", "old opset", "fixed batch", "open size", "external data", "weights as inputs", "added bias"],
)
def test_a_variant_answers_alike_and_keeps_macs_and_parameters(tmp_path, made, batch):
    path = made(tmp_path / "float.onnx")
    target, outcome = compressed(path)
    assert snr(path, batch) > 25
    before, after = (count_onnx(file, (3, 8, 8)) for file in (path, target))
    assert (after.macs, after.uncounted) == (before.macs, ())
    facts = read_facts(target)
    assert facts.parameters == read_facts(path).parameters
    assert facts.size_bytes == target.stat().st_size
    stored = onnx.load(target).graph.initializer
    assert facts.weight_bytes == sum(numpy_helper.to_array(tensor).nbytes for tensor in stored)
    assert [value.name for value in onnx.load(target).graph.input] == ["x"]
    assert outcome.ranges["x"] == pytest.approx((IMAGES.min(), IMAGES.max()))


def test_scales_follow_from_the_ranges(tmp_path):
    """A QuantizeLinear of 256 levels spans its range, zero included: scale = (high − low) / 255."""
    target, outcome = compressed(convolutional(tmp_path / "float.onnx"), calibrator="mse")
    model = onnx.load(target)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    scales = {
        node.input[0]: float(stored[node.input[1]]) for node in model.graph.node if node.op_type == "QuantizeLinear"
    }
    assert {"x", "f"} <= scales.keys()
    for name, scale in scales.items():
        low, high = outcome.ranges[name.removesuffix("_QuantizeLinear_Input")]
        assert scale == pytest.approx((max(high, 0) - min(low, 0)) / 255, rel=1e-5)


def _weights(target, name):
    model = onnx.load(target)
    return next(t for t in model.graph.initializer if t.name in {name, f"{name}_quantized"})


def test_settings_change_types_channels_and_bits(tmp_path):
    path = convolutional(tmp_path / "float.onnx")
    weights = numpy_helper.to_array(_weights(compressed(path)[0], "w2"))
    assert weights.dtype == np.int8
    assert np.abs(weights).max() == 64  # 7 bits
    channels = np.abs(weights).max(axis=(1, 2, 3))
    assert (channels >= 63).all()  # each with its own scale
    plain = numpy_helper.to_array(_weights(compressed(path, reduce_range=False, per_channel=False)[0], "w2"))
    assert np.abs(plain).max() == 127
    assert (np.abs(plain).max(axis=(1, 2, 3)) < 127).any()
    assert _weights(compressed(path, weights="uint8")[0], "w2").data_type == TensorProto.UINT8


def test_named_layers_stay_in_float(tmp_path):
    path = convolutional(tmp_path / "float.onnx")
    target, _ = compressed(path, keep_float=("second",))
    kept = [_weights(target, name).data_type for name in ("w1", "w2", "w3")]
    assert kept == [TensorProto.INT8, TensorProto.FLOAT, TensorProto.INT8]
    with pytest.raises(InputError, match="keep_float names 'secnd'") as refused:
        compressed(path, keep_float=("secnd",))
    assert "'second'" in refused.value.hint


def of_type(path, numpy_type):
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(numpy_type), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(numpy_type))
    onnx.save(model, path)
    return path


def with_operator(path, domain, operator):
    model = onnx.load(path)
    model.graph.node[1].domain, model.graph.node[1].op_type = domain, operator
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda path: compressed(path)[0], "quantized already"),
        (lambda path: of_type(path, np.float16), "float16"),
        (lambda path: of_type(path, np.float64), "float64"),
        (lambda path: with_operator(path, "nobody", "Relu"), "nobody:Relu"),
        (lambda path: with_operator(path, "", "Nonsense"), "Nonsense"),
    ],
)
def test_models_that_cannot_be_quantized_are_refused(tmp_path, made, message):
    path = made(convolutional(tmp_path / "float.onnx"))
    with pytest.raises(InputError, match=message) as refused:
        compressed(path)
    assert refused.value.hint
