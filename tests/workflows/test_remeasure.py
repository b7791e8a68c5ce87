"""Two states measured side by side: real files, real sessions, and what may not be measured."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench import data
from kdbench.errors import DataMissingError, InputError
from kdbench.files import storage
from kdbench.judge.compare.thresholds import Thresholds
from kdbench.recipe import InputOptions, Measure
from kdbench.results.cards import ModelCard
from kdbench.results.comparisons import Comparison
from kdbench.results.preprocessing import Preprocessing
from kdbench.results.records import Environment, RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.remeasure import remeasure

QUICK = Measure(budget_s=0.3, sessions=2, batch=(4,), energy="off")
DIGITS = InputOptions(data="digits")
UNSCORED = InputOptions(accuracy=False)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", parts=("test",)).test


def network(path: Path, digits, *, hidden: int = 64, worse: int = 0, batch: str | int = "n") -> Path:
    """Write a classifier of the digits by their mean images, behind an identity that costs 64 x `hidden` MACs twice.

    It never names the last `worse` classes. Its `batch` is a name, or fixed.
    """
    pixels = digits.inputs.reshape(len(digits), -1) / 255
    means = np.stack([pixels[digits.labels == label].mean(axis=0) for label in range(10)], axis=1)
    bias = -0.5 * (means**2).sum(axis=0)
    bias[10 - worse :] -= 1e3
    weights = {"up": np.eye(64, hidden), "down": np.eye(hidden, 64), "w": means, "b": bias}
    stored = [numpy_helper.from_array(value.astype(np.float32), key) for key, value in weights.items()]
    stored.append(numpy_helper.from_array(np.array([-1, 64], np.int64), "flat"))
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["f"]),
        helper.make_node("MatMul", ["f", "up"], ["wide"]),
        helper.make_node("Relu", ["wide"], ["positive"]),  # pixels are, and it keeps the products apart
        helper.make_node("MatMul", ["positive", "down"], ["g"]),
        helper.make_node("Gemm", ["g", "w", "b"], ["y"]),
    ]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 1, 8, 8])
    logits = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 10])
    graph = helper.make_graph(nodes, "digits", [image], [logits], stored)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def run(tmp_path, digits):
    """Write a run's folder: a record without numbers, and its models, each as `network` is asked for it."""

    def make(name: str, **models) -> Path:
        folder = RunFolder(tmp_path / name)
        cards = []
        for id_, options in models.items():
            path = network(folder.model(id_), digits, **options)
            cards.append(
                ModelCard(
                    id=id_,
                    name=id_.partition("_seed")[0],
                    role="teacher" if id_ == "teacher" else "student",
                    seed=int(id_.partition("_seed")[2] or 0),
                    file=f"models/{id_}.onnx",
                    sha256=storage.sha256(path),
                    input_shape=(1, 8, 8),
                    classes=10,
                    parameters=1,
                    preprocessing=Preprocessing(),
                )
            )
        RunRecord(
            kind="run",
            name=name,
            created="2025-01-01T00:00:00Z",
            command="kdbench run",
            recipe={"data": {"name": "digits"}},
            environment=Environment(host={}, libraries={}),
            models=tuple(cards),
            measurements=(),
        ).write(folder.record)
        return folder.path

    return make


def outcomes(comparison: Comparison, model: str = "student") -> dict[str, str]:
    return {row.metric: row.outcome for row in comparison.rows if row.new_model == model and row.axes.get("batch") != 4}


@pytest.mark.slow
def test_a_larger_network_regressed_and_the_same_file_is_not_measured(run, tmp_path):
    base = run("base", teacher={}, student={})
    new = run("new", teacher={}, student={"hidden": 6000}, another={})
    comparison, folder = remeasure(base, new, options=QUICK, out=tmp_path / "out")
    assert comparison.overall == "regressed"
    assert comparison.remeasured
    assert comparison.identical == ("teacher",)
    assert comparison.added == ("another",)
    changes = outcomes(comparison)
    # A few MB beside the runtime's 60: more than before, whether or not more than runs differ by.
    assert changes.pop("peak_memory_bytes") in {"same", "regressed", "inconclusive"}
    (memory,) = [row for row in comparison.rows if row.metric == "peak_memory_bytes" and row.axes["batch"] == 1]
    assert memory.change > 1
    # Whether the sessions of a busy machine prove it is a matter of `tests/judge`, with samples of its own.
    assert changes.pop("latency_p50_ns") in {"regressed", "inconclusive"}
    assert changes == {"top1": "same", "size_bytes": "regressed", "macs": "regressed"}
    (latency,) = [row for row in comparison.rows if row.metric == "latency_p50_ns" and row.axes["batch"] == 1]
    assert (latency.way, latency.base_model, latency.new_model) == ("paired", "student", "student")
    assert latency.change > 1.5
    record = RunRecord.read(folder)
    assert record.name == "compare"
    assert {card.id for card in record.models} == {"base-student", "new-student"}
    assert Comparison.model_validate(storage.read_json(folder / "comparison.json", "comparison")) == comparison
    assert (folder / "report.md").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("short_run")
def test_what_one_of_them_has_alone_is_told_by_the_models_own_name(digits, tmp_path):
    base = network(tmp_path / "a" / "net.onnx", digits, batch=1)
    new = network(tmp_path / "b" / "net.onnx", digits)
    comparison, _ = remeasure(
        base, new, options=QUICK, out=tmp_path / "out", inputs=UNSCORED, metrics=["peak_memory_bytes"]
    )
    (note,) = comparison.notes
    assert note.startswith("net: peak_memory_bytes at ")
    assert note.endswith("batch 4: the new record only")


def test_what_cannot_be_compared_is_refused_before_anything_is_measured(digits, tmp_path):
    files = [network(tmp_path / name / "net.onnx", digits, worse=worse) for name, worse in (("a", 0), ("b", 1))]
    options = {"options": QUICK, "out": tmp_path / "out", "inputs": UNSCORED}
    with pytest.raises(InputError, match="unknown metric"):
        remeasure(*files, **options, metrics=["top0"])
    with pytest.raises(InputError, match="macs is not compared"):
        remeasure(*files, **options, metrics=["top1"], thresholds=Thresholds.read(["macs=5%"]))
    assert not (tmp_path / "out").exists()


def test_files_that_are_all_the_same_are_the_same_and_nothing_is_measured(run, tmp_path):
    base, new = run("base", teacher={}, student={}), run("new", teacher={}, student={})
    comparison, folder = remeasure(base, new, options=QUICK, out=tmp_path / "out")
    assert (comparison.overall, comparison.exit_code, comparison.rows) == ("same", 0, ())
    assert comparison.identical == ("teacher", "student")
    assert folder is None
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("short_run")
def test_of_what_no_metric_asks_for_nothing_is_measured(digits, tmp_path):
    base = network(tmp_path / "a" / "net.onnx", digits)
    new = network(tmp_path / "b" / "net.onnx", digits, hidden=128)
    comparison, folder = remeasure(base, new, metrics=["size_bytes", "macs"], options=QUICK, out=tmp_path / "out")
    assert outcomes(comparison, "net") == {"size_bytes": "regressed", "macs": "regressed"}
    measured = {m.metric for m in RunRecord.read(folder).measurements if m.value is not None}
    assert measured == {"size_bytes", "weight_bytes", "macs", "parameters"}


@pytest.mark.slow
@pytest.mark.usefixtures("short_run")
def test_single_files_are_scored_on_the_data_that_is_named(digits, tmp_path):
    base = network(tmp_path / "a" / "net.onnx", digits)
    new = network(tmp_path / "b" / "net.onnx", digits, worse=1)
    options = {"metrics": ["top1", "size_bytes"], "options": QUICK, "out": tmp_path / "out", "inputs": DIGITS}
    comparison, _ = remeasure(base, new, **options, thresholds=Thresholds.read(["top1=2"]))
    assert outcomes(comparison, "net") == {"top1": "regressed", "size_bytes": "same"}
    (accuracy,) = [row for row in comparison.rows if row.metric == "top1"]
    assert accuracy.way == "paired"
    assert accuracy.change < -5
    assert accuracy.n == len(digits)


@pytest.mark.usefixtures("short_run")
def test_single_files_without_data_are_asked_for_it(digits, tmp_path):
    base, new = network(tmp_path / "a.onnx", digits), network(tmp_path / "b.onnx", digits, worse=1)
    for metrics in ([], ["parity_max_abs"]):  # parity is measured on the test images, too
        with pytest.raises(InputError, match="accuracy needs data"):
            remeasure(base, new, options=QUICK, out=tmp_path / "out", metrics=metrics)
    comparison, _ = remeasure(base, new, options=QUICK, out=tmp_path / "out", inputs=UNSCORED, metrics=["macs"])
    assert [(row.base_model, row.new_model, row.outcome) for row in comparison.rows] == [("a", "b", "same")]


@pytest.mark.slow
@pytest.mark.usefixtures("short_run")
def test_of_several_seeds_the_first_is_timed_and_all_are_scored(run, tmp_path):
    base = run("base", student_seed0={}, student_seed1={})
    new = run("new", student_seed0={"worse": 1}, student_seed1={"worse": 2})
    comparison, _ = remeasure(base, new, options=QUICK, out=tmp_path / "out", metrics=["top1", "latency_p50_ns"])
    assert {(row.new_model, row.metric) for row in comparison.rows} == {
        ("student_seed0", "top1"),
        ("student_seed0", "latency_p50_ns"),
        ("student_seed1", "top1"),
    }
    assert comparison.overall == "regressed"


def test_a_file_that_was_changed_since_is_refused(run, tmp_path):
    base, new = run("base", teacher={}, student={}), run("new", teacher={}, student={"worse": 1})
    path = RunFolder(new).model("student")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="is not the file that the record describes"):
        remeasure(base, new, options=QUICK, out=tmp_path / "out")
    path.unlink()
    with pytest.raises(InputError, match="is not there"):
        remeasure(base, new, options=QUICK, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_data_that_the_record_names_by_a_relative_path_is_explained_where_it_is_missing(run, tmp_path):
    base, new = run("base", student={}), run("new", student={"worse": 1})
    record = RunFolder(new).record
    record.write_text(record.read_text().replace('"digits"', '"npz:digits.npz"'))
    with pytest.raises(DataMissingError, match=r"digits\.npz") as missing:
        remeasure(base, new, options=QUICK, out=tmp_path / "out")
    assert "--data npz:PATH" in missing.value.hint


def test_a_file_that_is_no_model_is_refused(digits, tmp_path):
    base = network(tmp_path / "a.onnx", digits)
    (tmp_path / "b.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match=r"b\.onnx"):
        remeasure(base, tmp_path / "b.onnx", options=QUICK, inputs=DIGITS, out=tmp_path / "out")


def test_a_record_alone_has_nothing_to_measure(run, tmp_path):
    base = run("base", student={})
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "record.json").write_bytes((base / "record.json").read_bytes())
    for new in (alone, alone / "record.json"):
        with pytest.raises(InputError, match="no folder models") as caught:
            remeasure(base, new, options=QUICK)
        assert "onnx" in caught.value.hint


def test_the_record_in_a_folder_stands_for_the_folder(run):
    base = run("base", student={})
    comparison, folder = remeasure(base / "record.json", base, options=QUICK)
    assert (comparison.overall, folder) == ("same", None)
