"""One value a sample for two classes: a logit, a probability or a decision, however a file computes it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from scipy.special import expit
from small_graphs import model_of, run

from kdbench.errors import InputError
from kdbench.evaluate.class_map import class_map
from kdbench.modelfile.facts import inspect
from kdbench.worker.jobs import JobModel
from kdbench.worker.probes.logits import class_scores

SAMPLES = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
WEIGHTS = np.linspace(-1, 1, 6, dtype=np.float32)[:, None]
Z = (SAMPLES @ WEIGHTS)[:, 0]


PARTS = ("first", "second")
WAYS = ("Gather", "Gather from the end", "Gather at a number", "Slice", "Slice from the end", "Split")


def column(op, place):
    """Return nodes that take the probability at `place` out of a softmax over two classes."""
    taking = {
        "Gather": [("Gather", ["p", f"at{place}"], ["y"], {"axis": 1})],
        "Gather from the end": [("Gather", ["p", f"at{place - 2}"], ["y"], {"axis": 1})],
        "Gather at a number": [
            ("Constant", [], ["place"], {"value_ints": [place]}),
            ("Gather", ["p", "place"], ["y"], {"axis": 1}),
        ],
        "Slice": [("Slice", ["p", f"at{place}", f"at{place + 1}", "at1"], ["y"], {})],
        "Slice from the end": [("Slice", ["p", f"at{place - 2}", f"at{place - 1 or 2}", "at1"], ["y"], {})],
        "Split": [("Split", ["p"], ["first", "second"], {"axis": 1}), ("Identity", [PARTS[place]], ["y"], {})],
    }
    return [("Softmax", ["pair"], ["p"], {}), *taking[op]]


PROBABILITIES = {
    "sigmoid": [("Sigmoid", ["z"], ["y"], {})],
    "written out": [
        ("Neg", ["z"], ["m"], {}),
        ("Exp", ["m"], ["e"], {}),
        ("Add", ["e", "one"], ["d"], {}),
        ("Div", ["one", "d"], ["y"], {}),
    ],
    "scaled by one": [("Sigmoid", ["z"], ["s"], {}), ("Mul", ["s", "one"], ["y"], {})],
    **{op: column(op, 1) for op in WAYS},
}
OTHERS = {
    "logit": [("Identity", ["z"], ["y"], {})],
    "hard sigmoid": [("HardSigmoid", ["z"], ["y"], {})],
    "tanh": [("Tanh", ["z"], ["y"], {})],
    "-1 or 1": [("Sign", ["z"], ["y"], {})],
    "0 or 1": [("Greater", ["z", "none"], ["g"], {}), ("Cast", ["g"], ["y"], {"to": TensorProto.FLOAT})],
}


def written(path, nodes, shape=("n", 1)):
    """Write a classifier of two classes with the logits (0, z), whose output is declared with `shape`."""
    before = [
        ("MatMul", ["x", "w"], ["z"], {}),
        ("Mul", ["z", "none"], ["zero"], {}),
        ("Concat", ["zero", "z"], ["pair"], {"axis": 1}),
    ]
    places = {f"at{place}": np.array([place]) for place in range(-2, 3)}
    stored = {"w": WEIGHTS, "none": np.float32(0), "one": np.float32(1), **places}
    model = model_of([*before, *nodes], stored, {"x": ["n", 6]})
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, shape))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("way", {**PROBABILITIES, **OTHERS})
def test_the_second_class_is_predicted_where_its_logit_is_positive(tmp_path, way):
    path = written(tmp_path / "m.onnx", {**PROBABILITIES, **OTHERS}[way])
    output = inspect(path, classes=2).output
    job = JobModel("m", str(path), "x", "y", "float32", "flat", (6,), None, form=output.form)
    values = class_scores(run(onnx.load(path), x=SAMPLES), job)
    np.testing.assert_array_equal(values.argmax(axis=1), Z > 0)
    if way in PROBABILITIES:
        np.testing.assert_allclose(values, np.stack([expit(-Z), expit(Z)], axis=1), atol=1e-6)


@pytest.mark.parametrize("shape", [("n", "classes"), ("n", 2), None], ids=["open", "wrong", "none"])
@pytest.mark.parametrize("way", ["sigmoid", "written out", *OTHERS])
def test_one_value_is_about_the_second_class_whatever_width_the_file_declares(tmp_path, way, shape):
    path = written(tmp_path / "m.onnx", {**PROBABILITIES, **OTHERS}[way], shape)
    output = inspect(path, classes=2).output
    job = JobModel("m", str(path), "x", "y", "float32", "flat", (6,), None, form=output.form)
    values = class_map("m", output.classes, None, ("0", "1"), (0, 1), inferred=True).arranged(
        class_scores(run(onnx.load(path), x=SAMPLES), job), output.scored_as, "m"
    )
    np.testing.assert_array_equal(values.argmax(axis=1), Z > 0)
    if way in PROBABILITIES:
        np.testing.assert_allclose(values, np.stack([expit(-Z), expit(Z)], axis=1), atol=1e-6)


def test_a_value_from_minus_one_to_one_has_the_sign_of_a_logit_and_no_probability(tmp_path):
    path = written(tmp_path / "m.onnx", OTHERS["tanh"])
    output = inspect(path, classes=2).output
    assert (output.classes, output.scored_as) == (2, "scores")
    job = JobModel("m", str(path), "x", "y", "float32", "flat", (6,), None, form=output.form)
    positive = SAMPLES[Z > 0]
    assert class_scores(run(onnx.load(path), x=positive), job).argmax(axis=1).all()


@pytest.mark.parametrize("op", WAYS)
def test_the_probability_of_the_first_class_alone_is_refused(tmp_path, op):
    path = written(tmp_path / "m.onnx", column(op, 0))
    with pytest.raises(InputError, match="only the probability of the first class"):
        inspect(path, classes=2)
