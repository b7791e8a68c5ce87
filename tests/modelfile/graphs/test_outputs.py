"""Which output of a file is scored, and as what: files as people export them, and the answers by hand."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench.errors import InputError
from kdbench.evaluate.predictions import form_by_values
from kdbench.modelfile.choosing import choose_numbers
from kdbench.modelfile.facts import inspect
from kdbench.modelfile.graphs.outputs import Output
from kdbench.worker.jobs import JobModel
from kdbench.worker.probes.logits import class_scores, evaluate

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
RNG = np.random.default_rng(0)
WEIGHTS = RNG.standard_normal((12, 10)).astype(np.float32)
SAMPLES = RNG.standard_normal((7, 12)).astype(np.float32)
LOGITS = SAMPLES @ WEIGHTS


def save(path, nodes, outputs, opset=17, **stored):
    """Write a graph that begins with `logits` = x · w; `outputs` are (name, element type, shape)."""
    tensors = [numpy_helper.from_array(array, name) for name, array in {"w": WEIGHTS, **stored}.items()]
    values = [helper.make_tensor_value_info(name, element, shape) for name, element, shape in outputs]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["logits"]), *nodes],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, ["n", 12])],
        values,
        tensors,
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def scores(path, **options):
    """Return the scores that kdbench makes of the chosen output, and the facts."""
    facts = inspect(path, **options)
    job = JobModel(
        "m", str(path), "x", facts.output.name, "float32", "flat", (12,), None,
        form=facts.output.form, output_scale=facts.output.quantization,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = evaluate(lambda x: session.run([job.output], {"x": x})[0], [SAMPLES], None, 3, lambda _: None)
    return class_scores(outputs, job), facts.output


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, **attributes)


def test_the_logits_are_chosen_by_the_classes_not_by_their_place(tmp_path):
    nodes = [node("Relu", ["x"], ["embedding"])]
    path = save(tmp_path / "m.onnx", nodes, [("embedding", FLOAT, ["n", 12]), ("logits", FLOAT, ["n", 10])])
    assert inspect(path, classes=10).output.name == "logits"
    assert inspect(path, classes=12).output.name == "embedding"
    assert inspect(path).output.name == "logits"  # by name, where the classes are unknown


def test_outputs_that_could_both_be_meant_are_listed(tmp_path):
    nodes = [node("Identity", ["logits"], ["a"]), node("Neg", ["logits"], ["b"])]
    path = save(tmp_path / "m.onnx", nodes, [("a", FLOAT, ["n", 10]), ("b", FLOAT, ["n", 10])])
    with pytest.raises(InputError, match=r"'a' \(\?x10\), 'b' \(\?x10\)") as caught:
        inspect(path, classes=10)
    assert "--output" in caught.value.hint
    assert inspect(path, classes=10, output="b").output.name == "b"


def test_an_auxiliary_output_of_the_same_width_is_not_meant(tmp_path):
    nodes = [node("Identity", ["logits"], ["out"]), node("Neg", ["logits"], ["aux_logits"])]
    path = save(tmp_path / "m.onnx", nodes, [("out", FLOAT, ["n", 10]), ("aux_logits", FLOAT, ["n", 10])])
    assert inspect(path, classes=10).output.name == "out"
    assert inspect(path, classes=10, output="aux_logits").output.name == "aux_logits"


@pytest.mark.parametrize("shape", [(-1, 1, 1, 10), (-1, 10, 1, 1), (-1, 1, 10)])
def test_axes_of_one_element_do_not_matter(tmp_path, shape):
    nodes = [node("Reshape", ["logits", "shape"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, [("y", FLOAT, ["n", *shape[1:]])], shape=np.array(shape))
    values, output = scores(path, classes=10)
    assert (output.form, output.classes) == ("logits", 10)
    np.testing.assert_allclose(values, LOGITS, rtol=1e-5)


@pytest.mark.parametrize("keepdims", [0, 1])
def test_the_best_class_alone(tmp_path, keepdims):
    nodes = [node("ArgMax", ["logits"], ["y"], axis=1, keepdims=keepdims)]
    path = save(tmp_path / "m.onnx", nodes, [("y", INT64, ["n", 1] if keepdims else ["n"])])
    values, output = scores(path, classes=10)
    assert output.form == "class"
    np.testing.assert_array_equal(values.argmax(axis=1), LOGITS.argmax(axis=1))


def test_a_ranking_is_read_from_the_indices(tmp_path):
    nodes = [node("TopK", ["logits", "k"], ["values", "indices"])]
    outputs = [("values", FLOAT, ["n", 5]), ("indices", INT64, ["n", 5])]
    path = save(tmp_path / "m.onnx", nodes, outputs, k=np.array([5]))
    values, output = scores(path, classes=10)
    assert (output.name, output.form) == ("indices", "ranking")
    np.testing.assert_array_equal(np.argsort(-values, axis=1)[:, :5], np.argsort(-LOGITS, axis=1)[:, :5])


def test_a_ranking_of_as_many_values_as_classes_is_no_row_of_logits(tmp_path):
    nodes = [node("TopK", ["logits", "k"], ["values", "indices"])]
    outputs = [("values", FLOAT, ["n", 10]), ("indices", INT64, ["n", 10])]
    path = save(tmp_path / "m.onnx", nodes, outputs, k=np.array([10]))
    assert inspect(path, classes=10).output.name == "indices"


@pytest.mark.parametrize(("op", "form"), [("Sigmoid", "binary_probability"), ("Identity", "binary_logit")])
def test_one_value_for_two_classes(tmp_path, op, form):
    nodes = [node("MatMul", ["logits", "one"], ["z"]), node(op, ["z"], ["y"])]
    one = np.ones((10, 1), np.float32)
    path = save(tmp_path / "m.onnx", nodes, [("y", FLOAT, ["n", 1])], one=one)
    values, output = scores(path, classes=2)
    assert (output.form, output.classes) == (form, 2)
    np.testing.assert_array_equal(values.argmax(axis=1), (LOGITS @ one)[:, 0] > 0)


@pytest.mark.parametrize(("best", "usable"), [(3, False), (1, True)])
def test_classes_in_any_order_are_no_ranking(tmp_path, best, usable):
    top = node("TopK", ["logits", "k"], ["values", "y"], sorted=0)
    path = save(tmp_path / "m.onnx", [top], [("y", INT64, ["n", best])], k=np.array([best]))
    if usable:
        values, _ = scores(path, classes=10)
        assert (values.argmax(axis=1) == LOGITS.argmax(axis=1)).all()
    else:
        with pytest.raises(InputError, match="in any order"):
            inspect(path, classes=10)


def test_as_many_classes_as_samples_do_not_hide_that_they_are_turned(tmp_path):
    path = save(tmp_path / "m.onnx", [node("Transpose", ["logits"], ["y"])], [("y", FLOAT, [10, "n"])])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    ten = np.resize(SAMPLES, (10, 12))
    with pytest.raises(ValueError, match=r"for 9 inputs has shape \(10, 9\)"):
        evaluate(lambda x: session.run(["y"], {"x": x})[0], [ten], None, 128, lambda _: None)


def test_the_hint_for_an_output_without_a_type_works(tmp_path):
    path = save(tmp_path / "m.onnx", [node("Identity", ["logits"], ["y"])], [("y", FLOAT, ["n", 10])])
    model = onnx.load(path)
    model.graph.output[0].ClearField("type")
    onnx.save(model, path)
    with pytest.raises(InputError, match="no declared type") as caught:
        inspect(path, classes=10)
    exec(caught.value.hint.removeprefix("add it: ").replace("PATH", "path"), {"onnx": onnx, "path": path})
    values, _ = scores(path, classes=10)
    np.testing.assert_array_equal(values.argmax(axis=1), LOGITS.argmax(axis=1))


@pytest.mark.parametrize(
    ("op", "form"), [("Softmax", "probabilities"), ("Sigmoid", "scores"), ("Tanh", "scores"), ("LogSoftmax", "logits")]
)
def test_what_stands_in_the_place_of_logits(tmp_path, op, form):
    path = save(tmp_path / "m.onnx", [node(op, ["logits"], ["y"])], [("y", FLOAT, ["n", 10])])
    values, output = scores(path, classes=10)
    assert output.form == form
    np.testing.assert_array_equal(values.argmax(axis=1), LOGITS.argmax(axis=1))


def test_integer_logits_have_the_scale_of_their_tail(tmp_path):
    nodes = [node("QuantizeLinear", ["logits", "scale", "zero"], ["y"])]
    stored = {"scale": np.float32(0.05), "zero": np.int8(-3)}
    path = save(tmp_path / "m.onnx", nodes, [("y", TensorProto.INT8, ["n", 10])], **stored)
    values, output = scores(path, classes=10)
    assert output.quantization == (pytest.approx(0.05), -3)
    np.testing.assert_allclose(values, LOGITS.clip(-125 * 0.05, 130 * 0.05), atol=0.026)


def test_integers_without_a_scale_only_rank(tmp_path):
    path = save(tmp_path / "m.onnx", [node("Cast", ["logits"], ["y"], to=6)], [("y", TensorProto.INT32, ["n", 10])])
    assert inspect(path, classes=10).output.form == "scores"


def with_map(path):
    """Write a classifier as scikit-learn's converter does: the best label, and a list of dictionaries."""
    nodes = [
        node("ArgMax", ["logits"], ["output_label"], axis=1, keepdims=0),
        helper.make_node(
            "ZipMap", ["logits"], ["output_probability"], domain="ai.onnx.ml", classlabels_int64s=range(10)
        ),
    ]
    save(path, nodes, [("output_label", INT64, ["n"])])
    model = onnx.load(path)
    of = helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, []))
    model.graph.output.append(helper.make_value_info("output_probability", helper.make_sequence_type_proto(of)))
    onnx.save(model, path)
    return path


def test_a_list_of_dictionaries_is_refused_with_the_converters_option(tmp_path):
    path = with_map(tmp_path / "m.onnx")
    with pytest.raises(InputError, match="output_probability") as caught:
        inspect(path, classes=10)
    assert "'zipmap': False" in caught.value.hint
    values, _ = scores(path, classes=10, output="output_label")
    np.testing.assert_array_equal(values.argmax(axis=1), LOGITS.argmax(axis=1))


def test_a_sequence_is_refused(tmp_path):
    path = save(tmp_path / "m.onnx", [node("SplitToSequence", ["logits"], ["y"], axis=0)], [])
    model = onnx.load(path)
    of = helper.make_tensor_type_proto(FLOAT, ["n", 10])
    model.graph.output.append(helper.make_value_info("y", helper.make_sequence_type_proto(of)))
    onnx.save(model, path)
    with pytest.raises(InputError, match="sequence"):
        inspect(path, classes=10)


def test_logits_beside_a_sequence_are_scored(tmp_path):
    nodes = [node("SplitToSequence", ["logits"], ["parts"], axis=0)]
    path = save(tmp_path / "m.onnx", nodes, [("logits", FLOAT, ["n", 10])])
    model = onnx.load(path)
    of = helper.make_tensor_type_proto(FLOAT, ["n", 10])
    model.graph.output.insert(0, helper.make_value_info("parts", helper.make_sequence_type_proto(of)))
    onnx.save(model, path)
    values, output = scores(path, classes=10)
    assert output.name == "logits"
    np.testing.assert_allclose(values, LOGITS, rtol=1e-5)


def test_without_classes_nothing_is_scored_and_any_output_will_do(tmp_path):
    nodes = [node("Identity", ["logits"], ["a"]), node("Neg", ["logits"], ["b"])]
    path = save(tmp_path / "m.onnx", nodes, [("a", FLOAT, ["n", 10]), ("b", FLOAT, ["n", 10])])
    assert inspect(path).output.name == "a"


@pytest.mark.parametrize(("element", "op"), [(INT64, "Cast"), (TensorProto.BOOL, "Identity")])
def test_a_decision_between_two_classes_is_no_logit(tmp_path, element, op):
    options = {"to": element} if op == "Cast" else {}
    nodes = [node("Slice", ["logits", "a", "b", "c"], ["one"]), node("Greater", ["one", "zero"], ["yes"])]
    path = save(
        tmp_path / "m.onnx",
        [*nodes, node(op, ["yes"], ["y"], **options)],
        [("y", element, ["n", 1])],
        a=np.array([0]),
        b=np.array([1]),
        c=np.array([1]),
        zero=np.float32(0),
    )
    values, output = scores(path, classes=2)
    assert output.form == "class"
    assert (values.argmax(axis=1) == (LOGITS[:, 0] > 0)).all()


@pytest.mark.parametrize(
    ("operators", "width"),
    [
        (("Softmax", "QuantizeLinear", "DequantizeLinear"), 10),
        (("Softmax", "QuantizeLinear"), 10),
        (("Slice", "Sigmoid", "QuantizeLinear", "DequantizeLinear"), 1),
        (("Softmax", "Slice", "QuantizeLinear", "DequantizeLinear"), 1),
        (("Softmax", "QuantizeLinear", "DequantizeLinear", "Slice"), 1),
    ],
)
def test_probabilities_that_were_rounded_are_marked_also_where_they_are_given_as_floats(tmp_path, operators, width):
    extra = {"Slice": ["a", "b", "axis"], "QuantizeLinear": ["s", "z"], "DequantizeLinear": ["s", "z"]}
    values = ["two" if width == 1 else "logits", *(f"v{place}" for place in range(1, len(operators))), "y"]
    nodes = [
        node(op, [before, *extra.get(op, [])], [after])
        for op, before, after in zip(operators, values[:-1], values[1:], strict=True)
    ]
    stored = {"s": np.float32(1 / 256), "z": np.uint8(0), "zero": np.array([0]), "a": np.array([1])}
    path = save(
        tmp_path / "m.onnx",
        [node("Slice", ["logits", "zero", "b", "axis"], ["two"]), *nodes],
        [("y", TensorProto.UINT8 if operators[-1] == "QuantizeLinear" else FLOAT, ["n", width])],
        b=np.array([2]),
        axis=np.array([1]),
        **stored,
    )
    probabilities, output = scores(path, classes=max(width, 2))
    assert output.scored_as == "rounded_probabilities"
    logits = LOGITS if width == 10 else LOGITS[:, :2]
    if "Sigmoid" in operators:
        logits = logits * [0, 1]
    exact = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, exact, atol=1 / 256)


def test_a_number_that_no_class_has_is_refused():
    job = JobModel("m", "m.onnx", "x", "y", "float32", "flat", (12,), None, form="class")
    with pytest.raises(ValueError, match="holds 900000000000, which is not the number of a class"):
        class_scores(np.array([[3], [900_000_000_000]]), job)


class TestNumbers:
    def test_one_value_a_sample_is_a_prediction_and_no_logit(self):
        chosen = choose_numbers((Output("y", (None, 1), "binary_logit"),), None, 1, Path("m.onnx"))
        assert (chosen.form, chosen.classes) == ("numbers", None)

    def test_of_several_outputs_the_width_of_the_targets_decides(self):
        outputs = Output("features", (None, 64)), Output("y", (None, 3)), Output("open", (None, None))
        assert choose_numbers(outputs, None, 3, Path("m.onnx")).name == "y"
        assert choose_numbers(outputs, None, 5, Path("m.onnx")).name == "open"
        assert choose_numbers(outputs, "y", 3, Path("m.onnx")).name == "y"

    @pytest.mark.parametrize(
        ("name", "targets", "hint"),
        [(None, 2, "choose the data set"), ("y", 2, "choose the data set"), ("z", 3, "'features' (?x64), 'y' (?x3)")],
    )
    def test_what_does_not_fit_the_targets_is_refused(self, name, targets, hint):
        outputs = Output("features", (None, 64)), Output("y", (None, 3))
        with pytest.raises(InputError, match=r"m\.onnx") as caught:
            choose_numbers(outputs, name, targets, Path("m.onnx"))
        assert hint in caught.value.hint

    def test_the_label_of_a_classifier_is_no_prediction_of_a_number(self, tmp_path):
        """Class numbers that were saved as floats would be compared as amounts."""
        nodes = [node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0)]
        path = save(tmp_path / "m.onnx", nodes, [("label", INT64, ["n"]), ("logits", FLOAT, ["n", 10])])
        for classifier in (path, with_map(tmp_path / "map.onnx")):
            with pytest.raises(InputError, match="is a classifier") as caught:
                inspect(classifier, targets=1)
            assert "y.astype(int)" in caught.value.hint
        assert inspect(path, targets=1, output="label").output.form == "numbers"

    def test_two_outputs_of_one_width_have_to_be_named(self):
        outputs = Output("mean", (None, 1)), Output("deviation", (None, 1))
        with pytest.raises(InputError, match="several outputs of 1") as caught:
            choose_numbers(outputs, None, 1, Path("m.onnx"))
        assert "--output" in caught.value.hint


SCIKIT_LEARN = {"domain": "ai.onnx.ml", "classlabels_ints": [0, 1]}


def linear_classifier(tmp_path, **options):
    """Write a logistic regression of two classes as skl2onnx does, with the weights -w and w; return its file and w."""
    weights = WEIGHTS[:, 1] - WEIGHTS[:, 0]
    classifier = node(
        "LinearClassifier", ["x"], ["label", "y"], coefficients=[*-weights, *weights], intercepts=[0.0, 0.0],
        **SCIKIT_LEARN, **options,
    )  # fmt: skip
    return save(tmp_path / "m.onnx", [classifier], [("label", INT64, ["n"]), ("y", FLOAT, ["n", 2])]), weights


def test_raw_scores_of_a_logistic_regression_have_no_softmax(tmp_path):
    path, weights = linear_classifier(tmp_path, post_transform="NONE")
    values, output = scores(path, classes=2)
    assert (output.name, output.form) == ("y", "scores")
    np.testing.assert_allclose(values[:, 1] - values[:, 0], 2 * SAMPLES @ weights, rtol=1e-4)  # twice the logit
    path, _ = linear_classifier(tmp_path, post_transform="LOGISTIC")
    values, output = scores(path, classes=2)
    assert output.form == "logits"  # their values show that they are probabilities
    np.testing.assert_allclose(values[:, 1], 1 / (1 + np.exp(-SAMPLES @ weights)), rtol=1e-4)


@pytest.mark.parametrize(
    ("activation", "form"),
    [("NONE", "scores"), ("SOFTMAX", "probabilities"), ("HINGE", "scores"), ("one column", "scores")],
)
def test_what_a_converter_calls_probabilities_are_decision_values_unless_they_add_up(tmp_path, activation, form):
    """A ridge classifier has the same graph as raw scores of a logistic regression; HINGE is that of a linear SVM."""
    options = {"coefficients": WEIGHTS.T.ravel().tolist(), "intercepts": [0.0] * 10, "domain": "ai.onnx.ml"}
    options["post_transform"] = "SOFTMAX" if activation == "SOFTMAX" else "NONE"
    nodes = [node("LinearClassifier", ["x"], ["label", "raw"], **options, classlabels_ints=list(range(10)))]
    classes = 2 if activation == "one column" else 10
    nodes.append(node("ArrayFeatureExtractor", ["raw", "one"], ["column"], domain="ai.onnx.ml"))
    taken = {"HINGE": "logits", "one column": "column"}.get(activation, "raw")
    nodes.append(node("Identity", [taken], ["probabilities"]))
    declared = [("label", INT64, ["n"]), ("probabilities", FLOAT, ["n", 1 if classes == 2 else 10])]
    values, output = scores(save(tmp_path / "m.onnx", nodes, declared, one=np.array([1])), classes=classes)
    assert (output.name, form_by_values(output.scored_as, values)) == ("probabilities", form)
    expected = np.stack([np.zeros(7, np.float32), LOGITS[:, 1]], axis=1) if classes == 2 else LOGITS
    np.testing.assert_array_equal(values.argmax(axis=1), expected.argmax(axis=1))


def test_logarithms_of_probabilities_are_logits_beside_operators_of_a_converter(tmp_path):
    nodes = [
        node("Scaler", ["x"], ["scaled"], domain="ai.onnx.ml", offset=[0.0], scale=[1.0]),
        node("MatMul", ["scaled", "w"], ["z"]),
        node("LogSoftmax", ["z"], ["log_probabilities"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, [("log_probabilities", FLOAT, ["n", 10])])
    assert scores(path)[1].form == "logits"


def test_votes_of_a_support_vector_machine_only_rank_the_classes(tmp_path):
    """Converters compute one value per class from the decisions on pairs."""
    pairs = node("SVMClassifier", ["x"], ["label", "pairs"], domain="ai.onnx.ml", classlabels_ints=[0, 1, 2])
    votes = node("MatMul", ["pairs", "w"], ["votes"])
    path = save(tmp_path / "m.onnx", [pairs, votes], [("votes", FLOAT, ["n", 3])])
    assert inspect(path, classes=3).output.form == "scores"


@pytest.mark.parametrize(("classes", "is_declared"), [(2, True), (3, True), (3, False)])
def test_the_label_of_a_support_vector_machine_is_scored_not_its_decisions_on_pairs(tmp_path, classes, is_declared):
    from sklearn.svm import SVC

    labels = np.arange(60) % classes
    features = np.random.default_rng(1).standard_normal((60, 12)).astype(np.float32)
    features[np.arange(60), labels] += 3
    machine = SVC(kernel="linear").fit(features, labels)
    sign = -1 if classes == 2 else 1  # scikit-learn turns the sign of libsvm's decision on two classes
    pairs = node(
        "SVMClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml", kernel_type="LINEAR",
        kernel_params=[machine._gamma, 0.0, 3.0], vectors_per_class=machine.n_support_.tolist(),
        support_vectors=machine.support_vectors_.ravel().tolist(),
        coefficients=(sign * machine.dual_coef_).ravel().tolist(),
        rho=(sign * machine.intercept_).tolist(), classlabels_ints=list(range(classes)), post_transform="NONE",
    )  # fmt: skip
    nodes = [pairs, node("Cast", ["scores"], ["probabilities"], to=FLOAT)]
    shape = ["n", classes] if is_declared else None
    path = save(tmp_path / "m.onnx", nodes, [("label", INT64, ["n"]), ("probabilities", FLOAT, shape)])
    values, output = scores(path, classes=classes)
    assert output.name == "label"
    np.testing.assert_array_equal(values.argmax(axis=1), machine.predict(SAMPLES))
    with pytest.raises(InputError, match="decision value for each pair") as caught:
        inspect(path, classes=classes, output="probabilities")
    assert "probability=True" in caught.value.hint


@pytest.mark.parametrize("ranked", ["logits", "y", "other"])
def test_the_label_of_a_model_for_other_classes_is_not_scored(tmp_path, ranked):
    """The label is that of the scores `y`, which tell the number of classes, or of scores that are no output."""
    nodes = [
        node("Softmax", ["logits"], ["y"], axis=1),
        node("Neg", ["logits"], ["other"]),
        node("ArgMax", [ranked], ["label"], axis=1, keepdims=0),
    ]
    path = save(tmp_path / "m.onnx", nodes, [("label", INT64, ["n"]), ("y", FLOAT, ["n", 10])])
    assert inspect(path, classes=10).output.name == "y"
    assert inspect(path, classes=3).output.name == ("label" if ranked == "other" else "y")
    assert inspect(path, classes=3, output="label").output.name == "label"


def test_a_label_beside_features_from_which_the_scores_are_computed_is_scored(tmp_path):
    nodes = [node("MatMul", ["logits", "v"], ["s"]), node("ArgMax", ["s"], ["label"], axis=1)]
    outputs = [("logits", FLOAT, ["n", 10]), ("label", INT64, ["n", 1])]
    assert inspect(save(tmp_path / "m.onnx", nodes, outputs, v=WEIGHTS.T[:, :4]), classes=4).output.name == "label"


def test_the_label_of_a_linear_classifier_for_other_classes_is_not_scored(tmp_path):
    path, _ = linear_classifier(tmp_path, post_transform="LOGISTIC")
    assert inspect(path, classes=7).output.name == "y"


@pytest.mark.parametrize(
    ("numbers", "chosen"), [([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "y"), ([0, 0, 0, 0, 1, 1, 1, 2, 2, 2], "label")]
)
def test_a_label_that_a_table_maps_to_other_classes_is_scored(tmp_path, numbers, chosen):
    """Such as superclasses; a table of the numbers in their order, as skl2onnx writes, maps nothing."""
    nodes = [
        node("Softmax", ["logits"], ["y"], axis=1),
        node("ArgMax", ["logits"], ["best"], axis=1, keepdims=0),
        node("Gather", ["table", "best"], ["label"]),
    ]
    outputs = [("label", INT64, ["n"]), ("y", FLOAT, ["n", 10])]
    path = save(tmp_path / "m.onnx", nodes, outputs, table=np.array(numbers))
    assert inspect(path, classes=3).output.name == chosen
    assert inspect(path, classes=10).output.name == "y"


def test_a_label_is_scored_beside_the_scores_of_an_earlier_stage(tmp_path):
    """The best superclass selects what is added to the scores of the classes, which are no output."""
    nodes = [
        node("ArgMax", ["logits"], ["best"], axis=1, keepdims=0),
        node("Gather", ["rows", "best"], ["scores"]),
        node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    outputs = [("label", INT64, ["n"]), ("logits", FLOAT, ["n", 10])]
    path = save(tmp_path / "m.onnx", nodes, outputs, rows=np.eye(10, 30, dtype=np.float32))
    assert inspect(path, classes=30).output.name == "label"


def test_a_label_beside_one_decision_value_is_scored(tmp_path):
    classifier = node(
        "LinearClassifier", ["x"], ["label", "y"], coefficients=[1.0] * 12, intercepts=[0.0], post_transform="NONE",
        domain="ai.onnx.ml", classlabels_ints=[0, 1],
    )  # fmt: skip
    path = save(tmp_path / "m.onnx", [classifier], [("label", INT64, ["n"]), ("y", FLOAT, ["n", 1])])
    assert inspect(path, classes=2).output.name == "label"
