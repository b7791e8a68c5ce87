"""Bundles of models whose outputs, inputs or versions are unusual."""

import numpy as np
import onnx
import pytest
from model_files import _bench_model, _build, _by_hand
from onnx import TensorProto, helper

import kdbench
from kdbench.edge.bundles.bundle import Packed, make_bundle
from kdbench.edge.bundles.stored_bundles import known_bundle
from kdbench.edge.exchange.parity import Parity
from kdbench.edge.exchange.plan import Settings
from kdbench.edge.results.step_findings import parity_findings
from kdbench.errors import MeasurementError
from kdbench.recipe import InputOptions
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.bundle import bundle

SETTINGS = Settings(threads=(1,), batch=(), budget_s=1.0, precision=0.1, sessions=2, energy="off")


def test_a_newer_model_of_pixels_whose_outputs_have_another_order_is_lowered_and_scored(tmp_path, simple_result):
    """Its outputs stand for the classes 5, 4, … 0; it takes uint8, with open height and width."""
    path = _build(tmp_path / "reversed.onnx", shape=(1, "h", "w"), dtype="uint8", batch="n")
    model = onnx.load(path)
    del model.opset_import[1]
    model = onnx.version_converter.convert_version(model, 23)
    model.ir_version = 11
    onnx.save(model, path)
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 6), dtype=np.uint8)
    best = (_by_hand(images[:, None] * 255.0)).argmax(axis=1)
    np.savez(tmp_path / "set.npz", x_test=images, y_test=5 - best)
    options = {"data": f"npz:{tmp_path / 'set.npz'}", "labels": tuple("543210")}
    results = kdbench.bench([path], **options, measure={"times": False}, out=tmp_path / "run")
    assert results.record.find("reversed", "top1").value == 1.0

    inputs = InputOptions(**options)
    made = bundle(tmp_path / "run", None, files=[path], inputs=inputs, onnxruntime="1.17", lower=True).bundle
    assert made.plan.models[0].lowered == "opset 23 → 20, IR version 11 → 9"
    known = known_bundle(made.id, RunFolder(tmp_path / "run"))
    outputs = {"reversed": np.roll(known.outputs["reversed"], 1, axis=0)}  # of a device that answers one sample late
    findings = parity_findings(simple_result(known, outputs), results.record.cards)
    (top1,) = (m.value for m in findings.measurements if m.metric == "device_top1")
    assert top1 == np.mean(best == np.roll(best, 1))


def test_an_output_of_open_width_is_scored_by_the_classes_that_it_returns(tmp_path, simple_result):
    """Its six values stand for the classes "2" to "7", as those of a model that declares six outputs do."""
    path = _build(tmp_path / "open.onnx")
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "classes"
    onnx.save(model, path)
    images = np.random.default_rng(0).integers(0, 256, (40, 2, 3, 4), dtype=np.uint8)
    best = _by_hand(images / np.float32(255)).argmax(axis=1)
    np.savez(tmp_path / "set.npz", x_test=images, y_test=best, class_names=list("234567"))
    options = {"data": f"npz:{tmp_path / 'set.npz'}"}
    results = kdbench.bench([path], **options, measure={"times": False}, out=tmp_path / "run")
    assert results.record.find("open", "top1").value == 1.0

    made = bundle(tmp_path / "run", None, files=[path], inputs=InputOptions(**options)).bundle
    known = known_bundle(made.id, RunFolder(tmp_path / "run"))
    findings = parity_findings(simple_result(known, known.outputs), results.record.cards)
    assert [m.value for m in findings.measurements if m.metric == "device_top1"] == [1.0]


@pytest.fixture
def simple_result():
    """A result of which only the outputs matter."""
    from types import SimpleNamespace

    def make(known, outputs):
        outcomes = {id_: Parity(0.0, 0, len(values)) for id_, values in outputs.items()}
        return SimpleNamespace(known=known, outputs=outputs, outcomes=outcomes)

    return make


def test_outputs_that_are_not_finite_cannot_be_compared(tmp_path):
    shapes = {"x": ["n", 2, 3, 4], "y": ["n", 24]}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    nodes = [helper.make_node("Log", ["x"], ["l"]), helper.make_node("Flatten", ["l"], ["y"])]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    path = tmp_path / "log.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    packed = Packed(_bench_model(path, data=False), path)  # some pixels are 0
    with pytest.raises(MeasurementError, match=r"log cannot be compared with a device: \d+ of 64 outputs") as refused:
        make_bundle([packed], None, SETTINGS, tmp_path, run="r", record="", target="any", target_text="")
    assert "--data" in refused.value.hint
