"""The names of classes in classifiers as converters of scikit-learn write them."""

import pytest
from modelfile.graph_parts import graph_of, value
from onnx import TensorProto, helper, save

from kdbench.modelfile.facts import read_facts
from kdbench.modelfile.graphs.class_names import class_names_of
from kdbench.modelfile.known_inputs import known_inputs

NAMES = ("cat", "ant", "bee")


def classifier(names, *outputs):
    """Return a linear classifier of four features."""
    attributes = {"coefficients": [0.0] * 4 * len(names), "intercepts": [0.0] * len(names)}
    labels = {"classlabels_strings": names}
    return helper.make_node("LinearClassifier", ["x"], outputs, domain="ai.onnx.ml", **attributes, **labels)


def model_of(*nodes, stored=(), label="label", scores=3):
    """Return a model of the nodes, which has the name of the best class and `scores` scores as its outputs."""
    outputs = [value(label, [None], TensorProto.STRING), value("scores", [None, scores])]
    model = graph_of([value("x", [None, 4])], outputs, list(nodes), stored)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    return model


def lookup(op, *, names=NAMES, name="label", **attributes):
    """Return the nodes of scores whose best one's name is looked up in a table, and the table."""
    nodes = [
        helper.make_node("Identity", ["x"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
        helper.make_node(op, ["classes", "best"], [name], **attributes),
    ]
    table = helper.make_tensor("classes", TensorProto.STRING, [len(names)], [name.encode() for name in names])
    return nodes, [table]


def test_names_are_those_of_the_classifier():
    assert class_names_of(model_of(classifier(NAMES, "label", "scores"))) == NAMES


@pytest.mark.parametrize("op", ["ArrayFeatureExtractor", "Gather"])
def test_names_may_be_a_table_that_the_label_is_looked_up_in(op):
    domain = {"domain": "ai.onnx.ml"} if op == "ArrayFeatureExtractor" else {}
    nodes, stored = lookup(op, name="row", **domain)
    reshaped = helper.make_node("Squeeze", ["row"], ["label"])
    assert class_names_of(model_of(*nodes, reshaped, stored=stored)) == NAMES


def test_the_classifiers_of_an_ensemble_agree_on_the_names():
    first, second = classifier(NAMES, "label", "scores"), classifier(NAMES, "other label", "other scores")
    assert class_names_of(model_of(first, second)) == NAMES
    turned = classifier(NAMES[::-1], "other label", "other scores")
    assert class_names_of(model_of(first, turned)) == ()


def test_names_that_occur_twice_name_nothing():
    assert class_names_of(model_of(classifier(("cat", "cat", "bee"), "label", "scores"))) == ()


def test_names_that_only_number_the_scores_are_left_out():
    assert class_names_of(model_of(classifier(("0", "1", "2"), "label", "scores"))) == ()
    assert class_names_of(model_of(classifier(("0", "10", "2"), "label", "scores"))) == ("0", "10", "2")


def test_a_table_that_no_output_is_taken_from_names_nothing():
    nodes, stored = lookup("Gather", name="unused")
    label = helper.make_node("Cast", ["best"], ["label"], to=TensorProto.STRING)
    assert class_names_of(model_of(*nodes, label, stored=stored)) == ()


@pytest.mark.parametrize(("scores", "labels"), [(3, NAMES), (5, None)])
def test_names_apply_to_an_output_with_a_value_for_each(scores, labels, tmp_path):
    save(model_of(classifier(NAMES, "label", "scores"), scores=scores), tmp_path / "m.onnx")
    sources = dict(known_inputs(tmp_path / "m.onnx", read_facts(tmp_path / "m.onnx")))
    assert (tuple(sources["its classifier"].labels) if sources else None) == labels


def test_operators_of_others_may_have_any_operands():
    """Their names mean nothing here."""
    nodes, stored = lookup("Gather")
    others = [helper.make_node(kind, [], [f"{kind} of others"], domain="own") for kind in ("Squeeze", "Gather")]
    others.append(helper.make_node("Classifier", ["x"], ["numbers"], domain="own", classlabels_strings=7))
    assert class_names_of(model_of(*nodes, *others, stored=stored)) == NAMES
