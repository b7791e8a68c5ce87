"""Files of unknown origin from end to end: the right number, from a loop of onnxruntime's own, or a refusal."""

import numpy as np
import onnx
import onnxruntime
import pytest
from file_runs import bench
from onnx import TensorProto, helper, numpy_helper

from kdbench import data
from kdbench.errors import InputError, MeasurementError
from kdbench.judge.readiness import judge
from kdbench.judge.target import Target
from kdbench.recipe import Measure
from kdbench.results.preprocessing import InputSpec
from kdbench.results.records import RunRecord

pytestmark = pytest.mark.usefixtures("short_run")

FEW = Measure(energy="off", budget_s=0.2, batch=(32,), sessions=2)
SHAPE = (1, 8, 8)
INTEGERS = {"pixels": TensorProto.UINT8, "signed": TensorProto.INT8}


@pytest.fixture(scope="module")
def digits():
    test = data.load("digits").test
    return test.inputs, test.labels


@pytest.fixture(scope="module")
def weights():
    """Weights (64, 10) of a linear classifier of digits, by least squares."""
    train = data.load("digits").train
    inputs = train.inputs.reshape(len(train), -1) / 255.0
    return np.linalg.lstsq(inputs, np.eye(10)[train.labels], rcond=None)[0].astype(np.float32)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, **attributes)


def save(path, nodes, shape=("n", *SHAPE), output=("n", 10), element=TensorProto.FLOAT, **stored):
    image = helper.make_tensor_value_info("x", element, shape)
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, output)
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
    graph = helper.make_graph(nodes, "g", [image], [answer], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), path)
    return path


def top1(path, images, labels, batch):
    """Return the accuracy at `batch` by a loop of its own."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = images.astype(np.float32) / 255
    parts = [inputs[start : start + batch] for start in range(0, len(inputs), batch)]
    predicted = np.concatenate([session.run(["y"], {"x": part})[0].argmax(axis=1) for part in parts])
    return float((predicted == labels).mean())


@pytest.fixture
def batch_norm(tmp_path, weights):
    """A file whose batch norm was exported in training mode."""
    ones, zeros = np.ones(64, np.float32), np.zeros(64, np.float32)
    nodes = [
        node("Flatten", ["x"], ["f"]),
        node("BatchNormalization", ["f", "o", "z", "z", "o"], ["b", "c", "d"], training_mode=1),
        node("MatMul", ["b", "w"], ["y"]),
    ]
    return save(tmp_path / "bn.onnx", nodes, o=ones, z=zeros, w=weights)


def test_accuracy_is_that_of_batch_1_where_answers_depend_on_the_batch(batch_norm, digits, tmp_path):
    record, _ = bench([batch_norm], data="digits", options=FEW, timed=False, out=tmp_path / "out")
    at_1, at_128 = (top1(batch_norm, *digits, batch) for batch in (1, 128))
    assert at_1 + 0.4 < at_128  # otherwise this tests nothing
    assert record.find("bn", "top1").value == at_1
    by_batch = {m.axes["batch"]: m.value for m in record.measurements if m.metric == "top1" and "batch" in m.axes}
    assert by_batch == {1: at_1, 128: at_128}
    assert [(w.code, w.model) for w in record.warnings if w.code == "batch_dependent"] == [("batch_dependent", "bn")]
    bound = {"metric": "top1", "min": 0.5}
    for axes, outcome in (({}, "FAIL"), ({"batch": 1}, "FAIL"), ({"batch": 128}, "PASS")):
        target = Target(name="t", criterion=[{**bound, "axes": axes}])
        assert judge(record, target).models[0].criteria[-1].outcome == outcome


def test_a_criterion_at_batch_1_reads_the_accuracy_of_any_batch_where_answers_do_not_depend_on_it(
    weights, digits, tmp_path
):
    path = save(tmp_path / "m.onnx", [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "w"], ["y"])], w=weights)
    record, _ = bench([path], data="digits", options=FEW, timed=False, out=tmp_path / "out")
    assert record.find("m", "top1").value == top1(path, *digits, 64)
    assert not any("batch" in m.axes for m in record.measurements if m.metric == "top1")
    target = Target(name="t", criterion=[{"metric": "top1", "min": 0.5, "axes": {"batch": 1}}])
    assert judge(record, target).models[0].criteria[-1].outcome == "PASS"


def test_a_file_that_runs_at_batch_1_only_is_scored_there(weights, digits, tmp_path):
    nodes = [node("Reshape", ["x", "h"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    path = save(tmp_path / "one.onnx", nodes, h=np.array([1, 64]), w=weights)
    record, _ = bench([path], data="digits", options=FEW, out=tmp_path / "out")
    assert record.find("one", "top1").value == top1(path, *digits, 1)
    median = record.find("one", "latency_p50_ns", batch=1)
    assert 0 < median.interval.low < median.value < median.interval.high
    assert "fixed_batch" in {w.code for w in record.warnings}


def test_a_file_that_runs_at_a_large_batch_only_is_scored_there(weights, digits, tmp_path):
    nodes = [node("Reshape", ["x", "h"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, h=np.array([128, 64]), w=weights)
    record, _ = bench([path], data="digits", options=FEW, timed=False, out=tmp_path / "out")
    images, labels = digits
    outputs = images.reshape(len(images), -1).astype(np.float32) / 255 @ weights
    assert record.find("m", "top1").value == (outputs.argmax(axis=1) == labels).mean()


def test_a_first_axis_that_is_no_batch_is_refused(weights, tmp_path):
    nodes = [node("Reshape", ["x", "h"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, (8, 8, 8), (1, 10), h=np.array([8, 64]), w=weights)
    with pytest.raises(InputError, match="first axis is not the batch"):
        bench([path], data="digits", options=FEW, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_fails_on_the_data_gets_no_verdict(weights, tmp_path):
    nodes = [node("Reshape", ["x", "h"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, h=np.array([3, 64]), w=weights)
    target = Target(name="t", criterion=[{"metric": "size_bytes", "max": 1e9}])
    with pytest.raises(MeasurementError, match="m could not be run"):
        bench([path], data="digits", options=FEW, out=tmp_path / "out", targets=[target])
    assert RunRecord.read(tmp_path / "out").find("m", "top1").status == "error"
    assert not list((tmp_path / "out").glob("*verdict*"))


NORMALISED = {"data": "digits", "mean": (0.5,), "std": (0.25,)}  # of other models in the run


@pytest.mark.parametrize(
    "inputs", [{"data": "digits"}, NORMALISED, {"data": "digits", "models": {"m": InputSpec(scale=255.0)}}]
)
def test_a_graph_that_scales_pixels_is_fed_pixels_unless_its_own_options_say_otherwise(
    inputs, weights, digits, tmp_path
):
    nodes = [node("Div", ["x", "k"], ["d"]), node("Flatten", ["d"], ["f"]), node("Gemm", ["f", "w", "b"], ["y"])]
    bias = np.linspace(-1, 1, 10, dtype=np.float32)  # otherwise the scale would not change what is predicted
    path = save(tmp_path / "m.onnx", nodes, k=np.float32(255), w=weights, b=bias)
    record, _ = bench([path], options=FEW, timed=False, out=tmp_path / "out", **inputs)
    images, labels = digits
    divisor = 255 * 255 if "models" in inputs else 255
    outputs = images.reshape(len(images), -1) / divisor @ weights.astype(np.float64) + bias
    assert record.find("m", "top1").value == (outputs.argmax(axis=1) == labels).mean()
    assert [w.code for w in record.warnings if w.code == "preprocessing"] == ["preprocessing"] * ("mean" in inputs)


def test_floats_from_0_to_1_become_pixels_for_a_graph_that_scales_them(weights, digits, tmp_path):
    images, labels = digits
    nodes = [node("Mul", ["x", "k"], ["d"]), node("Flatten", ["d"], ["f"]), node("Gemm", ["f", "w", "b"], ["y"])]
    bias = np.linspace(-1, 1, 10, dtype=np.float32)
    path = save(tmp_path / "m.onnx", nodes, k=np.float32(1 / 255), w=weights, b=bias)
    np.savez(tmp_path / "floats.npz", x_test=images / np.float32(255), y_test=labels)
    record, _ = bench([path], data=f"npz:{tmp_path / 'floats.npz'}", options=FEW, timed=False, out=tmp_path / "out")
    outputs = images.reshape(len(images), -1) / 255 @ weights.astype(np.float64) + bias
    assert record.find("m", "top1").value == (outputs.argmax(axis=1) == labels).mean()


def integers(path, dtype, scale, zero_point, layout, normalised, weights):
    """Write a classifier with an integer input, which it dequantizes first; `normalised` inputs need no constants."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    shape = ("n", 8, 8, 1) if layout == "NHWC" else ("n", *SHAPE)
    image = helper.make_tensor_value_info("x", element, shape)
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 10))
    nodes = [node("DequantizeLinear", ["x", "s", "z"], ["d"]), node("Flatten", ["d"], ["f"])]
    inner = "f"
    if not normalised:
        nodes += [node("Sub", ["f", "mean"], ["c"]), node("Div", ["c", "std"], ["v"])]
        inner = "v"
    nodes.append(node("MatMul", [inner, "w"], ["y"]))
    stored = {"s": np.float32(scale), "z": np.dtype(dtype).type(zero_point), "w": weights}
    stored |= {"mean": np.float32(0.5), "std": np.float32(0.25)}
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
    graph = helper.make_graph(nodes, "g", [image], [answer], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), path)
    return path


def test_integer_inputs_beside_their_float_original(digits, tmp_path):
    """Options for all models normalise the float model; pixels stay pixels, and normalised integers are quantized."""
    train = data.load("digits").train
    inputs = (train.inputs.reshape(len(train), -1) / 255 - 0.5) / 0.25
    weights = np.linalg.lstsq(inputs, np.eye(10)[train.labels], rcond=None)[0].astype(np.float32)
    flat = [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    paths = [
        save(tmp_path / "float.onnx", flat, w=weights),
        integers(tmp_path / "pixels.onnx", "uint8", 1 / 255, 0, "NHWC", normalised=False, weights=weights),
        integers(tmp_path / "int8.onnx", "int8", 1 / 255, -128, "NCHW", normalised=False, weights=weights),
        integers(tmp_path / "normalised.onnx", "int8", 4 / 255, 0, "NCHW", normalised=True, weights=weights),
    ]
    options = {"data": "digits", "mean": (0.5,), "std": (0.25,)}
    record, _ = bench(paths, options=FEW, timed=False, out=tmp_path / "out", **options)
    images, labels = digits
    values = ((images.astype(np.float32) / 255 - np.float32(0.5)) / np.float32(0.25)).astype(np.float32)
    fed = {
        "float": values,
        "pixels": images.transpose(0, 2, 3, 1),
        "int8": (images.astype(np.int16) - 128).astype(np.int8),
        "normalised": np.clip(np.rint(values / np.float32(4 / 255)), -128, 127).astype(np.int8),
    }
    for path in paths:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        predicted = session.run(["y"], {"x": fed[path.stem]})[0].argmax(axis=1)
        assert record.find(path.stem, "top1").value == (predicted == labels).mean(), path.stem
    assert record.find("float", "top1").value > 0.8


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_integer_inputs_of_integer_operators_are_quantized_with_their_scale(weights, digits, tmp_path, dtype):
    """Without a DequantizeLinear at its start, a file expects normalised values, or pixels in steps of its integers."""
    element, kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), np.dtype(dtype).type
    least = int(np.iinfo(dtype).min)
    step = np.abs(weights).max() / 127
    kernels = np.rint(weights.T / step).astype(np.int8).reshape(10, *SHAPE)
    nodes = [node("QLinearConv", ["x", "s", "z", "w", "t", "u", "v", "q"], ["c"]), node("Flatten", ["c"], ["f"])]
    nodes.append(node("DequantizeLinear", ["f", "v", "q"], ["y"]))
    quantization = {"normalised": (4.2 / 255, least + 73), "pixels": (1 / 255, least)}
    for name, (scale, zero_point) in quantization.items():
        stored = {"s": np.float32(scale), "z": kind(zero_point), "w": kernels, "t": np.float32(step), "u": np.int8(0)}
        stored |= {"v": np.float32(0.05), "q": kind(least + 128)}
        save(tmp_path / f"{name}.onnx", nodes, element=element, **stored)
    images, labels = digits
    values = (images / 255 - 0.3) / 0.25
    fed = {
        "normalised": np.clip(np.rint(values / (4.2 / 255)) + least + 73, least, least + 255).astype(dtype),
        "pixels": (images.astype(np.int16) + least).astype(dtype),
    }
    paths = [tmp_path / f"{name}.onnx" for name in quantization]
    options = {"data": "digits", "mean": (0.3,), "std": (0.25,)}
    record, _ = bench(paths, options=FEW, timed=False, out=tmp_path / "out", **options)
    for path in paths:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        predicted = session.run(["y"], {"x": fed[path.stem]})[0].argmax(axis=1)
        assert record.find(path.stem, "top1").value == (predicted == labels).mean(), path.stem
    session = onnxruntime.InferenceSession(paths[0], providers=["CPUExecutionProvider"])
    unscaled = session.run(["y"], {"x": fed["pixels"]})[0].argmax(axis=1)
    assert record.find("normalised", "top1").value != (unscaled == labels).mean()


def test_integer_inputs_get_pixels_from_floats_and_from_steps_of_1(weights, digits, tmp_path):
    images, labels = digits
    nodes = [node("Cast", ["x"], ["c"], to=1), node("Flatten", ["c"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    paths = [save(tmp_path / f"{name}.onnx", nodes, w=weights, element=element) for name, element in INTEGERS.items()]
    np.savez(tmp_path / "floats.npz", x_test=images / np.float32(255), y_test=labels)
    models = {"signed": InputSpec(input_scale=1.0, input_zero_point=0)}
    options = {"data": f"npz:{tmp_path / 'floats.npz'}", "options": FEW, "timed": False, "models": models}
    low = (np.minimum(images, 127).reshape(len(images), -1) @ weights).argmax(axis=1)  # int8 ends at 127
    record, _ = bench(paths[:1], **{**options, "models": {}}, out=tmp_path / "one")
    assert record.find("pixels", "top1").value == top1_of(images, weights, labels)
    np.savez(tmp_path / "floats.npz", x_test=images, y_test=labels)
    record, _ = bench(paths, **options, out=tmp_path / "two")
    assert record.find("pixels", "top1").value == top1_of(images, weights, labels)
    assert record.find("signed", "top1").value == float((low == labels).mean())


def top1_of(images, weights, labels):
    return float(((images.reshape(len(images), -1) @ weights).argmax(axis=1) == labels).mean())


def test_models_with_other_classes_have_a_drop_but_no_fidelity(weights, digits, tmp_path):
    nodes = [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    behind = np.concatenate([np.full((64, 1), -1e-3, np.float32), weights], axis=1)
    paths = [
        save(tmp_path / "teacher.onnx", nodes, w=weights),
        save(tmp_path / "student.onnx", nodes, output=("n", 11), w=behind),
    ]
    models = {"student": InputSpec(labels=("background", *map(str, range(10))))}
    record, _ = bench(paths, data="digits", models=models, options=FEW, timed=False, out=tmp_path / "out")
    teacher, student = top1(paths[0], *digits, 64), top1(paths[1], digits[0], digits[1] + 1, 64)
    assert record.find("student", "top1").value == student
    drop = next(pair for pair in record.pairs if pair.metric == "top1_drop")
    assert drop.value == pytest.approx(100 * (teacher - student))
    assert "10 and 11 classes" in record.find("student", "agreement").reason


def test_constants_that_all_lie_beside_the_file_are_read(weights, digits, tmp_path):
    """Scales of the input and the output, a shape that the count needs, and a weight that is a node's constant."""
    nodes = [
        node("DequantizeLinear", ["x", "s", "z"], ["d"]),
        node("Flatten", ["d"], ["f"]),
        node("Constant", [], ["w"], value=numpy_helper.from_array(weights)),
        node("MatMul", ["f", "w"], ["l"]),
        node("QuantizeLinear", ["l", "t", "q"], ["y"]),
    ]
    stored = {"s": np.float32(1 / 255), "z": np.int8(-128), "t": np.float32(0.01), "q": np.uint8(60)}
    path = save(tmp_path / "m.onnx", nodes, element=TensorProto.INT8, **stored)
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    onnx.save(model, path, save_as_external_data=True, location="m.data", size_threshold=0, convert_attribute=True)
    record, _ = bench([path], data="digits", options=FEW, timed=False, out=tmp_path / "out")
    images, labels = digits
    logits = images.reshape(len(images), -1).astype(np.float32) / np.float32(255) @ weights
    steps = np.clip(np.rint(logits / np.float32(0.01)) + 60, 0, 255)
    rows = (steps.astype(np.float64) - 60) * 0.01
    log_p = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    assert record.find("m", "top1").value == pytest.approx((steps.argmax(axis=1) == labels).mean(), abs=0.003)
    assert record.find("m", "loss").value == pytest.approx(-log_p[np.arange(len(labels)), labels].mean(), abs=1e-4)
    assert (record.find("m", "macs").value, record.find("m", "parameters").value) == (640, 640)


def test_the_hint_for_a_shape_beside_the_file_works(weights, digits, tmp_path):
    nodes = [node("Reshape", ["x", "h"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, h=np.array([0, 64]), w=weights)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="m.data", size_threshold=0)
    with pytest.raises(MeasurementError, match="external tensors") as caught:
        bench([path], data="digits", options=FEW, timed=False, out=tmp_path / "out")
    command = caught.value.hint.partition("inside: ")[2].partition(";")[0]
    exec(command.replace("PATH", "path"), {"onnx": onnx, "path": path})
    record, _ = bench([path], data="digits", options=FEW, timed=False, out=tmp_path / "out2")
    assert record.find("m", "top1").value == top1(path, *digits, 64)
