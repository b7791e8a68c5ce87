import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench.errors import InputError
from kdbench.modelfile.facts import inspect
from kdbench.modelfile.layouts import layout_for, require_type
from kdbench.worker.jobs import JobModel
from kdbench.worker.runtimes.onnxruntime import LoadedModel

IMAGES = (2, 3, 4)


def graph_of(inputs, outputs, nodes=None, stored=(), opset=17):
    nodes = nodes or [helper.make_node("Identity", [inputs[0].name], [value.name]) for value in outputs]
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(stored))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def value(name, shape, element=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, element, shape)


def test_facts_of_a_small_classifier(tiny):
    path = tiny()
    facts = inspect(path, data_shape=IMAGES)
    assert facts.parameters == 24 * 6 + 6
    assert facts.weight_bytes == 4 * facts.parameters
    assert facts.size_bytes == path.stat().st_size
    assert (facts.opset, facts.classes, facts.fixed_batch) == (17, 6, None)
    assert (facts.input_name, facts.input_dtype, facts.output.name) == ("x", "float32", "y")
    assert (facts.input_shape, facts.sample_shape) == ((None, *IMAGES), IMAGES)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [((2, 3, 4), "NCHW"), ((3, 4, 2), "NHWC"), ((24,), "flat"), (("c", "h", "w"), "NCHW"), (("h", "w", 2), "NHWC")],
)
def test_layout_is_what_the_images_fit(tiny, shape, layout):
    assert inspect(tiny(shape=shape), data_shape=IMAGES).layout == layout


def test_grey_images_fit_an_input_without_channels(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(graph_of([value("x", ["n", 28, 28])], [value("y", ["n", 28, 28])]), path)
    assert inspect(path, data_shape=(1, 28, 28)).layout == "other"
    with pytest.raises(InputError, match="28x28"):
        inspect(path, data_shape=(3, 28, 28))


@pytest.mark.parametrize(("shape", "layout"), [((3, 8, 8), "NCHW"), ((8, 8, 3), "NHWC"), ((24,), "flat")])
def test_layout_without_images_is_the_likely_one(tiny, shape, layout):
    assert inspect(tiny(shape=shape)).layout == layout


@pytest.mark.parametrize("shape", [(1, 24, 1), (24, 1), (1, 24), (1, 1, 24, 1), ("p", 1)])
def test_a_vector_among_axes_of_one_element_is_a_flat_image(tiny, shape):
    path = tiny(shape=shape)
    assert inspect(path, data_shape=IMAGES).layout == inspect(path).layout == "flat"
    assert inspect(path).sides is None  # nothing is resized to 24x1


def test_images_that_are_a_row_or_a_column_are_images(tiny):
    assert inspect(tiny(shape=(1, 1, 24)), data_shape=(1, 1, 24)).layout == "NCHW"


def test_images_that_do_not_fit_are_named_with_the_input(tiny):
    with pytest.raises(InputError, match=r"\?x2x3x4.*1x28x28"):
        inspect(tiny(), data_shape=(1, 28, 28))


def test_fixed_batch(tiny):
    assert inspect(tiny(batch=7)).fixed_batch == 7


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "download or export it again"),
        (b"not a model", "download the file itself"),
        (b"\x08\x07", "is it cut short?"),
        (b"\x00" * 100, "is it cut short?"),
    ],
)
def test_a_file_that_is_no_model(tmp_path, content, hint):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        inspect(path)
    assert hint in caught.value.hint


def test_every_truncation_is_an_input_error_or_reads_whole(tiny):
    path = tiny()
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            inspect(path)


def test_a_file_too_large_for_its_format(tmp_path):
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.truncate(1 << 31)  # a hole: it takes no room
    with pytest.raises(InputError, match="2 GiB") as caught:
        inspect(path)
    assert "save_as_external_data" in caught.value.hint


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="no model file"):
        inspect(tmp_path / "m.onnx")


def test_an_input_of_another_kind_of_model(tmp_path):
    path = tmp_path / "m.onnx"
    for shape, element in ((["n", 3, 8, 8], TensorProto.INT64), (["n", 8], TensorProto.STRING)):
        onnx.save(graph_of([value("x", shape, element)], [value("y", shape)]), path)
        with pytest.raises(InputError, match=r"int64|string"):
            inspect(path)


def test_token_ids_and_how_many_there_are(tmp_path):
    path = tmp_path / "m.onnx"
    table = numpy_helper.from_array(np.ones((50, 3), np.float32), "table")
    nodes = [
        helper.make_node("Cast", ["x"], ["ids"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "ids"], ["vectors"]),
        helper.make_node("ReduceMean", ["vectors"], ["y"], axes=[1], keepdims=0),
    ]
    tokens = [value("x", ["n", 8], TensorProto.INT32)]
    onnx.save(graph_of(tokens, [value("y", ["n", 3])], nodes, [table]), path)
    facts = inspect(path, data_shape=(8,), data_layout="tokens")
    assert (facts.input_dtype, facts.layout, facts.vocabulary) == ("int32", "array", 50)


@pytest.mark.parametrize(
    ("declared", "data", "layout", "fits"),
    [
        ((None, 20, 8), (20, 8), "sequences", True),
        ((None, None, 8), (20, 8), "sequences", True),
        ((None, 160), (20, 8), "sequences", True),
        ((None, 1, 9), (9,), "vectors", True),
        ((None, 8, 20), (20, 8), "sequences", False),
        ((None, 1, 1, 8), (9,), "vectors", False),
    ],
)
def test_samples_that_are_no_images_fit_as_they_are_or_flat(declared, data, layout, fits):
    if fits:
        assert layout_for(declared, data, "m", layout) == "array"
    else:
        with pytest.raises(InputError, match=layout):
            layout_for(declared, data, "m", layout)


@pytest.mark.parametrize(("dtype", "layout"), [("int64", "vectors"), ("float32", "tokens")])
def test_token_ids_and_numbers_are_not_mixed_up(dtype, layout):
    with pytest.raises(InputError, match=r"token ids"):
        require_type(dtype, layout, "m")
    require_type(dtype, "tokens" if dtype == "int64" else "NCHW", "m")


def test_weights_listed_among_the_inputs_are_no_inputs(tmp_path):
    path = tmp_path / "m.onnx"
    stored = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    onnx.save(graph_of([value("x", ["n", 4]), value("w", [4, 3])], [value("y", ["n", 3])], nodes, [stored]), path)
    assert inspect(path).input_name == "x"


def test_two_real_inputs_are_refused(tmp_path):
    path = tmp_path / "m.onnx"
    nodes = [helper.make_node("Add", ["a", "b"], ["y"])]
    onnx.save(graph_of([value("a", ["n", 4]), value("b", ["n", 4])], [value("y", ["n", 4])], nodes), path)
    with pytest.raises(InputError, match="'a', 'b'"):
        inspect(path)


def test_the_output_of_logits_is_chosen_or_named(tmp_path):
    path = tmp_path / "m.onnx"
    outputs = [value("features", ["n", 8, 4, 4]), value("logits", ["n", 10, 1, 1]), value("aux", ["n", 10])]
    onnx.save(graph_of([value("x", ["n", 3, 8, 8])], outputs), path)
    assert inspect(path).output.name == "logits"
    assert inspect(path).classes == 10
    assert inspect(path, output="aux").output.name == "aux"
    with pytest.raises(InputError, match="no output 'logit'") as caught:
        inspect(path, output="logit")
    assert all(name in caught.value.hint for name in ("features", "logits", "aux"))


def test_external_weights_count_and_must_be_there(tmp_path):
    path = tmp_path / "m.onnx"
    stored = numpy_helper.from_array(np.ones((400, 10), np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = graph_of([value("x", ["n", 400])], [value("y", ["n", 10])], nodes, [stored])
    onnx.save(model, path, save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    facts = inspect(path)
    assert facts.weight_bytes == 16_000
    assert facts.size_bytes == path.stat().st_size + (tmp_path / "m.onnx.data").stat().st_size > 16_000
    (tmp_path / "m.onnx.data").unlink()
    with pytest.raises(InputError, match=r"m\.onnx\.data"):
        inspect(path)


@pytest.mark.parametrize("tensors", [1, 2])
def test_external_weights_that_are_cut_short(tmp_path, tensors):
    path, beside = tmp_path / "m.onnx", tmp_path / "m.onnx.data"
    names = [f"w{number}" for number in range(tensors)]
    stored = [numpy_helper.from_array(np.ones((400, 10), np.float32), name) for name in names]
    nodes = [helper.make_node("MatMul", ["x", "w0"], ["y"])]
    model = graph_of([value("x", ["n", 400])], [value("y", ["n", 10])], nodes, stored)
    onnx.save(model, path, save_as_external_data=True, location=beside.name, size_threshold=0)
    whole = beside.read_bytes()
    for length in (0, 100, len(whole) - 1):
        beside.write_bytes(whole[:length])
        with pytest.raises(InputError, match=rf"m\.onnx\.data, which is cut short: {length} of at least {len(whole)}"):
            inspect(path)
    beside.write_bytes(whole)
    assert inspect(path).size_bytes == path.stat().st_size + len(whole)


def test_external_weights_whose_place_is_no_number(tmp_path):
    path = tmp_path / "m.onnx"
    stored = numpy_helper.from_array(np.ones((400, 10), np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = graph_of([value("x", ["n", 400])], [value("y", ["n", 10])], nodes, [stored])
    onnx.save(model, path, save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    entries = model.graph.initializer[0].external_data
    next(entry for entry in entries if entry.key == "length").value = "all"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="'w'"):
        inspect(path)


def test_statistics_scales_and_shapes_are_no_parameters(tmp_path):
    path = tmp_path / "m.onnx"
    arrays = {
        "q": np.ones((5, 2), np.int8),
        "scale": np.float32(0.1),
        "zero": np.int8(0),
        "gamma": np.ones(2, np.float32),
        "beta": np.ones(2, np.float32),
        "mean": np.ones(2, np.float32),
        "var": np.ones(2, np.float32),
        "shape": np.array([-1, 2], np.int64),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("BatchNormalization", ["h", "gamma", "beta", "mean", "var"], ["z"]),
        helper.make_node("Reshape", ["z", "shape"], ["y"]),
    ]
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    onnx.save(graph_of([value("x", ["n", 5])], [value("y", ["n", 2])], nodes, stored), path)
    facts = inspect(path)
    assert facts.parameters == 10 + 2 + 2
    assert facts.weight_bytes == sum(np.asarray(array).nbytes for array in arrays.values())


def test_weights_of_branches_count_and_sparse_ones_by_their_values(tmp_path):
    path = tmp_path / "m.onnx"
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node("MatMul", ["x", f"{name}_w"], [name])],
            name,
            [],
            [value(name, ["n", 2])],
            [numpy_helper.from_array(np.ones((4, 2), np.float32), f"{name}_w")],
        )
        for name in ("then", "else")
    }
    nodes = [
        helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["yes"], ["h"], **branches),
        helper.make_node("MatMul", ["h", "s"], ["y"]),
    ]
    model = graph_of([value("x", ["n", 4])], [value("y", ["n", 2])], nodes)
    values, places = (numpy_helper.from_array(np.array([1, 3], kind), "s") for kind in (np.float32, np.int64))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [2, 2]))
    onnx.save(model, path)
    facts = inspect(path)
    assert facts.parameters == 2 * 8 + 2
    assert facts.weight_bytes == 1 + 2 * 8 * 4 + 2 * 4 + 2 * 8


def test_scales_and_zero_points_of_quantized_operators_are_no_parameters(tmp_path):
    path = tmp_path / "m.onnx"
    scalars = {name: np.float32(1) for name in ("xs", "ws", "ys")} | {name: np.uint8(0) for name in ("xz", "wz", "yz")}
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in scalars.items()]
    stored += [numpy_helper.from_array(np.ones((4, 2, 1, 1), np.uint8), "w")]
    stored += [numpy_helper.from_array(np.ones(4, np.int32), "b")]
    inputs = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    nodes = [helper.make_node("QLinearConv", inputs, ["y"])]
    images = value("x", ["n", 2, 3, 3], TensorProto.UINT8)
    onnx.save(graph_of([images], [value("y", ["n", 4, 3, 3], TensorProto.UINT8)], nodes, stored), path)
    assert inspect(path).parameters == 4 * 2 + 4


@pytest.mark.parametrize(
    ("kind", "size"), [("INT4", 4), ("UINT4", 4), ("FLOAT4E2M1", 4), ("INT8", 7), ("BFLOAT16", 14), ("DOUBLE", 56)]
)
def test_bytes_of_every_width(tmp_path, kind, size):
    path = tmp_path / "m.onnx"
    stored = TensorProto(name="w", data_type=TensorProto.DataType.Value(kind), dims=[7], raw_data=bytes(size))
    onnx.save(graph_of([value("x", ["n", 7])], [value("y", ["n", 7])], stored=[stored]), path)
    assert inspect(path).weight_bytes == size


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"raw_data": b"123"}, "'w' holds 3 bytes, and its shape needs 28"),
        ({"raw_data": None}, "'w' holds 0 numbers, and its shape needs 7"),
        ({"raw_data": None, "float_data": [1.0] * 6}, "'w' holds 6 numbers, and its shape needs 7"),
        ({"data_type": 77}, "element type of .w. .77."),
    ],
)
def test_a_tensor_that_is_not_what_it_says(tmp_path, damage, message):
    path = tmp_path / "m.onnx"
    whole = {"name": "w", "data_type": TensorProto.FLOAT, "dims": [7], "raw_data": bytes(28)}
    onnx.save(graph_of([value("x", ["n", 7])], [value("y", ["n", 7])], stored=[TensorProto(**whole | damage)]), path)
    with pytest.raises(InputError, match=message):
        inspect(path)


def test_weights_in_attributes_count(tmp_path):
    """A linear model as scikit-learn's converter writes it: coefficients and intercepts are lists of attributes."""
    node = helper.make_node(
        "LinearClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml",
        coefficients=[0.5] * 30, intercepts=[0.1] * 3, classlabels_ints=[0, 1, 2],
    )  # fmt: skip
    outputs = [value("label", ["n"], TensorProto.INT64), value("y", ["n", 3])]
    onnx.save(graph_of([value("x", ["n", 10])], outputs, [node]), tmp_path / "m.onnx")
    facts = inspect(tmp_path / "m.onnx", classes=3)
    assert (facts.output.name, facts.parameters, facts.weight_bytes) == ("y", 33, 4 * 33 + 8 * 3)


def test_a_constant_list_of_floats_counts(tmp_path):
    nodes = [
        helper.make_node("Constant", [], ["b"], value_floats=[1.0, 2.0]),
        helper.make_node("Add", ["x", "b"], ["y"]),
    ]
    onnx.save(graph_of([value("x", ["n", 2])], [value("y", ["n", 2])], nodes), tmp_path / "m.onnx")
    assert inspect(tmp_path / "m.onnx").parameters == 2


def with_labels(path, loss):
    """Write a graph for training: the labels beside the images reach nothing, or only a loss."""
    inputs = [value("x", ["n", 4]), value("labels", ["n"], TensorProto.INT64)]
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    outputs = [value("y", ["n", 4])]
    if loss:
        nodes.append(helper.make_node("SoftmaxCrossEntropyLoss", ["y", "labels"], ["loss"]))
        outputs.append(value("loss", []))
    onnx.save(graph_of(inputs, outputs, nodes), path)
    return path


@pytest.mark.parametrize("loss", [False, True])
def test_a_placeholder_that_no_answer_needs_is_no_input(tmp_path, loss):
    facts = inspect(with_labels(tmp_path / "m.onnx", loss), classes=4)
    assert (facts.input_name, facts.output.name) == ("x", "y")


@pytest.mark.parametrize("loss", [False, True])
def test_a_placeholder_is_fed_with_zeros(tmp_path, loss):
    path = with_labels(tmp_path / "m.onnx", loss)
    model = LoadedModel(JobModel("m", str(path), "x", "y", "float32", "flat", (4,), None), provider="cpu", threads=1)
    inputs = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(model(inputs), inputs)
    run, arguments = model.bind([inputs])
    np.testing.assert_array_equal(run(*arguments[0])[0], inputs)


@pytest.mark.parametrize(("shape", "images", "colour"), [((None, 1, 8, 8), 3, "grey"), ((None, 192), 1, "RGB")])
def test_images_of_other_colours_can_be_converted(shape, images, colour):
    with pytest.raises(InputError) as caught:
        layout_for(shape, (images, 8, 8), "m")
    assert caught.value.hint == f"convert the images: --colour {colour}"


def test_dynamic_quantization_is_seen(tmp_path):
    from onnxruntime.quantization import quantize_dynamic

    weights = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    values = [helper.make_tensor_value_info(name, 1, ["n", size]) for name, size in (("x", 4), ("y", 3))]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", values[:1], values[1:], [weights])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), tmp_path / "float.onnx"
    )
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "dynamic.onnx")
    result = [inspect(tmp_path / f"{name}.onnx").dynamic_quantization for name in ("float", "dynamic")]
    assert result == [False, True]
