"""ONNX graphs built by hand, quantized, fused by onnxruntime and exported by torch: one count for all forms."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench.errors import InputError
from kdbench.macs.onnx_counter import count_onnx

FLOAT = TensorProto.FLOAT


def weight(name, *shape, dtype=np.float32):
    return numpy_helper.from_array(np.ones(shape, dtype), name)


def save(folder, nodes, initializers=(), inputs=((("batch", 8, 8, 8)),), opset=17, domains=(), **fields):
    values = [helper.make_tensor_value_info(f"x{i}" if i else "x", FLOAT, shape) for i, shape in enumerate(inputs)]
    graph = helper.make_graph(nodes, "g", values, [helper.make_empty_tensor_value_info("y")], list(initializers))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, **fields), path)
    return path


def node(op, inputs, **attributes):
    return helper.make_node(op, inputs, ["y"], name=op.lower(), **attributes)


@pytest.mark.parametrize(
    ("one", "initializers", "macs"),
    [
        (node("Conv", ["x", "w"], pads=[1, 1, 1, 1], group=8), [weight("w", 8, 1, 3, 3)], 4_608),
        (node("Conv", ["x", "w"], auto_pad="SAME_UPPER", strides=[2, 2]), [weight("w", 4, 8, 3, 3)], 16 * 4 * 8 * 9),
        (node("ConvTranspose", ["x", "w"], strides=[2, 2]), [weight("w", 8, 4, 2, 2)], 8_192),
        (node("MatMul", ["x", "w"]), [weight("w", 8, 5)], 8 * 8 * 8 * 5),
        (node("Einsum", ["x", "w"], equation="bchw,wk->bchk"), [weight("w", 8, 5)], 8 * 8 * 8 * 5),
        (node("FusedConv", ["x", "w"], domain="com.microsoft", activation="Relu"), [weight("w", 4, 8, 1, 1)], 2_048),
        (node("FusedMatMul", ["x", "w"], domain="com.microsoft", transB=1), [weight("w", 1, 1, 5, 8)], 8 * 8 * 8 * 5),
        (node("Relu", ["x"]), [], 0),
    ],
)
def test_single_operators(tmp_path, one, initializers, macs):
    report = count_onnx(save(tmp_path, [one], initializers, domains=["com.microsoft"]))
    assert (report.macs, report.uncounted, report.convention) == (macs, (), "canonical")
    assert report.by_layer == (((one.name, one.op_type, macs),) if macs else ())


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm(tmp_path, transposed):
    turned = [helper.make_node("Transpose", ["x"], ["t"])] if transposed else []
    one = node("Gemm", ["t" if transposed else "x", "w"], transA=transposed)
    assert count_onnx(save(tmp_path, [*turned, one], [weight("w", 7, 5)], inputs=[("batch", 7)])).macs == 35


def test_a_fixed_batch_is_divided_out(tmp_path):
    one = node("Conv", ["x", "w"], pads=[1, 1, 1, 1], group=8)
    assert count_onnx(save(tmp_path, [one], [weight("w", 8, 1, 3, 3)], inputs=[(16, 8, 8, 8)])).macs == 4_608


@pytest.mark.parametrize("batch", [1, 2])
def test_work_on_constants_alone_is_none_of_an_inferences(tmp_path, batch):
    nodes = [helper.make_node("MatMul", ["v", "v"], ["vv"]), helper.make_node("MatMul", ["x", "vv"], ["y"])]
    report = count_onnx(save(tmp_path, nodes, [weight("v", 3, 3)], inputs=[(batch, 3)]))
    assert (report.macs, report.uncounted) == (9, ())


def test_random_numbers_are_no_constants(tmp_path):
    nodes = [
        helper.make_node("RandomNormal", [], ["r"], shape=[3, 3]),
        helper.make_node("MatMul", ["r", "v"], ["rv"]),
        helper.make_node("MatMul", ["x", "rv"], ["y"]),
    ]
    assert count_onnx(save(tmp_path, nodes, [weight("v", 3, 3)], inputs=[(1, 3)])).macs == 27 + 9


def test_a_first_axis_of_time_steps_is_not_divided_by(tmp_path):
    steps = helper.make_node("LSTM", ["x", "w", "r"], ["", "h"], hidden_size=4)
    nodes = [steps, helper.make_node("Squeeze", ["h", "axis"], ["y"])]
    weights = [weight("w", 1, 16, 6), weight("r", 1, 16, 4), numpy_helper.from_array(np.array([0]), "axis")]
    with pytest.raises(InputError, match="50 inputs to 1 outputs"):
        count_onnx(save(tmp_path, nodes, weights, inputs=[(50, 1, 6)]))


def test_what_has_no_formula_is_listed_and_not_counted(tmp_path):
    nodes = [
        helper.make_node("Sparse", ["x"], ["s"], domain="com.example"),
        helper.make_node("Conv", ["s", "w"], ["c"]),
        helper.make_node("DFT", ["x"], ["y"]),
        helper.make_node("Conv", ["x", "w"], ["d"]),
    ]
    report = count_onnx(save(tmp_path, nodes, [weight("w", 4, 8, 1, 1)], domains=["com.example"]))
    assert report.macs == 2_048
    assert report.uncounted == ("Conv (shape of c unknown)", "DFT", "com.example::Sparse")


def test_weights_that_come_from_a_reshape_in_an_old_file(tmp_path):
    # The shape of onnx/models' mnist-8: opset 8, IR version 3, initializers among the inputs, auto_pad.
    nodes = [
        helper.make_node("Reshape", ["w", "w_shape"], ["w2"]),
        helper.make_node("Conv", ["x", "k"], ["c"], auto_pad="SAME_UPPER", kernel_shape=[5, 5]),
        helper.make_node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["p", "p_shape"], ["f"]),
        helper.make_node("MatMul", ["f", "w2"], ["y"]),
    ]
    initializers = [
        weight("k", 8, 1, 5, 5),
        weight("w", 8, 14, 14, 10),
        numpy_helper.from_array(np.array([1568, 10]), "w_shape"),
        numpy_helper.from_array(np.array([1, 1568]), "p_shape"),
    ]
    path = save(tmp_path, nodes, initializers, inputs=[(1, 1, 28, 28)], opset=8, ir_version=3)
    model = onnx.load(path)
    model.graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in initializers)
    onnx.save(model, path)
    report = count_onnx(path)
    assert (report.macs, report.uncounted) == (28 * 28 * 8 * 25 + 15_680, ())


def test_pads_computed_in_the_graph(tmp_path):
    nodes = [
        helper.make_node("ConstantOfShape", ["six"], ["zeros"], value=numpy_helper.from_array(np.array([0]))),
        helper.make_node("Concat", ["one_one", "zeros"], ["pairs"], axis=0),
        helper.make_node("Reshape", ["pairs", "by_two"], ["table"]),
        helper.make_node("Transpose", ["table"], ["turned"]),
        helper.make_node("Reshape", ["turned", "flat"], ["pads"]),
        helper.make_node("Pad", ["x", "pads"], ["padded"]),
        helper.make_node("Conv", ["padded", "w"], ["y"]),
    ]
    constants = {"six": [6], "one_one": [0, 0], "by_two": [4, 2], "flat": [-1]}
    stored = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()]
    assert count_onnx(save(tmp_path, nodes, [*stored, weight("w", 4, 8, 1, 1)])).macs == 2_048


def test_open_sizes_must_be_given_and_must_fit(tmp_path):
    path = save(tmp_path, [node("Conv", ["x", "w"])], [weight("w", 4, 8, 1, 1)], inputs=[("n", 8, "h", "w")])
    with pytest.raises(InputError, match=r"leaves the size of its input x \(1, 8, h, w\) open"):
        count_onnx(path)
    assert count_onnx(path, (8, 4, 4)).macs == 512
    for wrong in ((3, 4, 4), (1, 8, 4, 4)):
        with pytest.raises(InputError, match="is not"):
            count_onnx(path, wrong)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08\x12\x07pytorch"])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"not an ONNX model|holds no ONNX graph"):
        count_onnx(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = save(tmp_path, [node("Conv", ["x", "w"])], [weight("w", 64, 8, 3, 3)])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"is not a readable ONNX model|holds no ONNX graph"):
        count_onnx(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no model file at"):
        count_onnx(tmp_path / "absent.onnx")


def test_external_weights_need_not_be_there(tmp_path):
    path = save(tmp_path, [node("Conv", ["x", "w"])], [weight("w", 64, 8, 3, 3)])
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    assert count_onnx(path).macs == 6 * 6 * 64 * 72


@pytest.fixture(scope="module")
def convolutional(tmp_path_factory) -> Path:
    """Two convolutions, a residual sum, pooling and a linear layer: 18 432 + 4 096 + 80 MACs."""
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "p"], ["c"], name="second"),
        helper.make_node("Add", ["b", "c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["y"], name="head", transB=1),
    ]
    rng = np.random.default_rng(0)
    shapes = {"k": (8, 4, 3, 3), "p": (8, 8, 1, 1), "w": (10, 8)}
    initializers = [
        numpy_helper.from_array(rng.standard_normal(shape, np.float32), name) for name, shape in shapes.items()
    ]
    return save(
        tmp_path_factory.mktemp("convolutional"), nodes, initializers, inputs=[("batch", 4, 8, 8)], ir_version=8
    )


CONVOLUTIONAL_MACS = 18_432 + 4_096 + 80


def test_a_small_network(convolutional):
    report = count_onnx(convolutional)
    assert report.macs == CONVOLUTIONAL_MACS
    assert [layer[0] for layer in report.by_layer] == ["first", "second", "head"]


@pytest.mark.parametrize("form", ["QDQ", "QOperator", "dynamic"])
def test_quantizing_changes_no_count(convolutional, tmp_path, form):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static

    class Samples(CalibrationDataReader):
        def __init__(self):
            self.left = iter([{"x": np.ones((1, 4, 8, 8), np.float32)}])

        def get_next(self):
            return next(self.left, None)

    path = tmp_path / "quantized.onnx"
    if form == "dynamic":
        quantize_dynamic(convolutional, path)
    else:
        quantize_static(convolutional, path, Samples(), quant_format=QuantFormat[form])
    report = count_onnx(path)
    assert (report.macs, report.uncounted) == (CONVOLUTIONAL_MACS, ())


def test_onnxruntimes_fusions_change_no_count(convolutional, tmp_path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    onnxruntime.InferenceSession(convolutional, options, providers=["CPUExecutionProvider"])
    assert "FusedConv" in {one.op_type for one in onnx.load(tmp_path / "fused.onnx").graph.node}
    report = count_onnx(tmp_path / "fused.onnx")
    assert (report.macs, report.uncounted) == (CONVOLUTIONAL_MACS, ())


def test_operands_that_do_not_fit_are_listed(tmp_path):
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r"], ["h"], hidden_size=3),
        helper.make_node("Conv", ["x", "k"], ["y"]),
    ]
    report = count_onnx(save(tmp_path, nodes, [weight("w", 1, 12, 8), weight("r", 1, 12, 3), weight("k", 4, 8, 1, 1)]))
    assert (report.macs, report.uncounted) == (2_048, ("LSTM (operands of incompatible shapes)",))


def test_a_damaged_constant_is_named(tmp_path):
    path = save(tmp_path, [node("Reshape", ["x", "shape"])], [numpy_helper.from_array(np.array([1, -1]), "shape")])
    model = onnx.load(path)
    model.graph.initializer[0].raw_data = b"123"
    onnx.save(model, path)
    with pytest.raises(InputError, match="'shape' is damaged"):
        count_onnx(path)


def test_an_input_without_a_shape_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not declare the shape of its input x"):
        count_onnx(save(tmp_path, [node("MatMul", ["x", "w"])], [weight("w", 8, 5)], inputs=[None]))


def test_half_precision_with_float_inputs_and_outputs_counts_the_same(foreign_models, tmp_path):
    """The converter appends its casts behind all nodes, and leaves the graph unsorted."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    original = foreign_models / "resnet20_cifar10.onnx"
    converted = convert_float_to_float16(onnx.load(original), keep_io_types=True)
    del converted.graph.value_info[:]
    onnx.save(converted, tmp_path / "half.onnx")
    assert count_onnx(tmp_path / "half.onnx").macs == count_onnx(original).macs == 40_551_040


def test_a_placeholder_counts_for_nothing(tmp_path):
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
        helper.make_node("SoftmaxCrossEntropyLoss", ["y", "labels"], ["loss"]),
    ]
    path = save(tmp_path, nodes, [weight("w", 512, 5)])
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("labels", TensorProto.INT64, ["batch"]))
    model.graph.output.append(helper.make_tensor_value_info("loss", FLOAT, []))
    onnx.save(model, path)
    assert count_onnx(path).macs == 512 * 5
