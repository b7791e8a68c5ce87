import inspect
from pathlib import Path

import numpy as np
import onnx
import pytest
from file_runs import bench
from onnx import TensorProto, helper, numpy_helper

import kdbench
from kdbench import data
from kdbench.errors import DivergedError, InputError
from kdbench.files import storage
from kdbench.machine import fingerprint
from kdbench.recipe import InputOptions, Measure
from kdbench.results.cards import ModelCard
from kdbench.results.preprocessing import Preprocessing
from kdbench.results.records import RunRecord
from kdbench.results.run_folder import card_path

pytestmark = pytest.mark.usefixtures("short_run")

QUICK = Measure(budget_s=0.2, sessions=2, batch=(4,), energy="off")
DIGITS = {"data": "digits"}


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", parts=("test",)).test


@pytest.fixture(scope="module")
def templates(digits):
    """The mean image of each class, 0–1, (64, 10), and the bias that makes them a least-distance classifier."""
    pixels = digits.inputs.reshape(len(digits), -1) / 255
    means = np.stack([pixels[digits.labels == label].mean(axis=0) for label in range(10)], axis=1)
    return means, -0.5 * (means**2).sum(axis=0)


@pytest.fixture
def classifier(templates, tmp_path):
    """Write a classifier of the digits by their distance to mean images, with the requested input and output."""

    def make(name, *, scale=1.0, poison=0.0, softmax=False, batch="n", width=1):
        means, bias = templates
        weights = {"w": np.tile(means * scale, (1, width)), "b": np.tile(bias * scale * scale + poison, width)}
        tensors = [numpy_helper.from_array(value.astype(np.float32), key) for key, value in weights.items()]
        flat = numpy_helper.from_array(np.array([-1, 64], np.int64), "flat")
        nodes = [
            helper.make_node("Reshape", ["x", "flat"], ["f"]),
            helper.make_node("Gemm", ["f", "w", "b"], ["z" if softmax else "y"]),
        ]
        if softmax:
            nodes.append(helper.make_node("Softmax", ["z"], ["y"], axis=1))
        image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 1, 8, 8])
        logits = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 10 * width])
        graph = helper.make_graph(nodes, name, [image], [logits], [*tensors, flat])
        path = tmp_path / f"{name}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path

    return make


def run_bench(paths, tmp_path, inputs=DIGITS, **options) -> tuple[RunRecord, Path]:
    return bench(paths, **{**inputs, "options": QUICK, "out": tmp_path / "out", **options})


def test_files_are_measured_side_by_side_against_the_first(classifier, templates, digits, tmp_path):
    record, folder = run_bench([classifier("big"), classifier("small", batch=1)], tmp_path)
    means, bias = templates
    guess = (digits.inputs.reshape(len(digits), -1) / 255 @ means + bias).argmax(axis=1)
    expected = float((guess == digits.labels).mean())
    assert record.find("big", "top1").value == pytest.approx(expected, abs=0.006)
    assert record.find("small", "agreement").value == 1
    assert record.find("small", "logit_spearman").value == pytest.approx(1)
    assert record.find("big", "ece").value == pytest.approx(record.find("small", "ece").value, abs=1e-6)
    assert 0 < record.find("big", "ece").value < 1
    assert [m.axes["class"] for m in record.measurements if (m.model, m.metric) == ("big", "class_top1")] == [
        *"0123456789"
    ]
    assert record.find("big", "macs").value == 640
    ratio = record.find_pair("small", "latency_ratio", batch=1)
    assert 0 < ratio.interval.low < ratio.value < ratio.interval.high
    assert record.find("small", "latency_p50_ns", batch=4).status == "unavailable"
    assert [card.role for card in record.models] == ["teacher", "student"]
    assert RunRecord.read(folder) == record
    assert (folder / "report.md").exists()
    assert (folder / "report.html").exists()


def test_another_reference_can_be_named_by_id_or_file(classifier, tmp_path):
    paths = [classifier("a"), classifier("b")]
    for number, name in enumerate(("b", "b.onnx")):
        record, _ = run_bench(paths, tmp_path / str(number), {"accuracy": False}, teacher=name, timed=False)
        assert {pair.teacher for pair in record.pairs} == {"b"}
    with pytest.raises(InputError, match="not one of the models"):
        run_bench(paths, tmp_path, teacher="c")


def test_each_model_can_have_a_reference_of_its_own_and_an_id_whatever_its_file(classifier, tmp_path):
    record, _ = run_bench(
        [classifier(name) for name in "abcd"],
        tmp_path,
        name="twins",
        cards=dict.fromkeys(("base-a", "new-a", "base-c", "new-c")),
        teacher={"new-a": "base-a", "new-c": "base-c"},
        timed={"base-a", "new-a"},
    )
    assert record.name == "twins"
    assert [(card.id, card.role, card.file) for card in record.models] == [
        ("base-a", "teacher", "a.onnx"),
        ("new-a", "student", "b.onnx"),
        ("base-c", "teacher", "c.onnx"),
        ("new-c", "student", "d.onnx"),
    ]
    assert {(p.teacher, p.student) for p in record.pairs if p.metric == "size_ratio"} == {
        ("base-a", "new-a"),
        ("base-c", "new-c"),
    }
    assert {p.student for p in record.pairs if p.metric == "latency_ratio"} == {"new-a"}
    assert record.find("new-c", "latency_p50_ns") is None
    assert record.find("new-c", "top1").value > 0.5


def test_without_accuracy_no_data_is_needed(classifier, tmp_path):
    record, _ = run_bench([classifier("a")], tmp_path, {"accuracy": False})
    assert record.find("a", "latency_p50_ns").status in {"ok", "unstable"}
    assert record.find("a", "top1").reason == "no test data was named"
    with pytest.raises(InputError, match="accuracy needs data") as caught:
        run_bench([classifier("a")], tmp_path, {})
    assert "--no-accuracy" in caught.value.hint


def test_the_card_beside_a_file_says_how_to_feed_it_unless_told_otherwise(classifier, tmp_path):
    path = classifier("carded", scale=255.0)  # made for pixels of 0–255
    card = ModelCard(
        id="carded", name="carded", role="student", file=path.name, sha256=storage.sha256(path),
        input_shape=(1, 8, 8), classes=10, parameters=650, preprocessing=Preprocessing(scale=1.0),
    )  # fmt: skip
    storage.write_json(card_path(path), card.model_dump(mode="json"))
    record, _ = run_bench([path], tmp_path / "card", timed=False)
    assert record.find("carded", "top1").value > 0.5
    assert preprocessing(record) == Preprocessing(scale=1.0)
    options = {"scale": 100.0, "mean": (0.5,), "std": (0.25,)}
    general, _ = run_bench([path], tmp_path / "general", {"data": "digits", **options}, timed=False)
    assert preprocessing(general) == Preprocessing(scale=1.0)
    assert [w.model for w in general.warnings if w.code == "preprocessing"] == ["carded"]
    named, _ = run_bench([path], tmp_path / "named", {"data": "digits", "models": {"carded": options}}, timed=False)
    assert preprocessing(named) == Preprocessing(**options)
    storage.write_json(card_path(path), {**card.model_dump(mode="json"), "sha256": "0" * 64})
    stale, _ = run_bench([path], tmp_path / "stale", timed=False)
    assert preprocessing(stale) == Preprocessing()


def preprocessing(record):
    return record.models[0].preprocessing.model_copy(update={"sources": {}})


@pytest.mark.parametrize("times", [True, False])
def test_only_times_suffer_from_a_busy_machine(classifier, tmp_path, monkeypatch, times):
    environment = fingerprint.fingerprint()
    busy = environment.model_copy(update={"host": {**environment.host, "cores_busy": 1.5}})
    monkeypatch.setattr(fingerprint, "fingerprint", lambda: busy)
    measure = QUICK.model_copy(update={"times": times})
    record, _ = run_bench([classifier("plain")], tmp_path, options=measure)
    assert ("load" in {warning.code for warning in record.warnings}) is times


def test_probabilities_are_noticed_and_the_loss_is_still_right(classifier, tmp_path):
    record, _ = run_bench([classifier("logits"), classifier("shares", softmax=True)], tmp_path, timed=False)
    assert record.find("shares", "loss").value == pytest.approx(record.find("logits", "loss").value, rel=1e-4)
    assert [warning.model for warning in record.warnings if warning.code == "probabilities"] == ["shares"]


def test_logits_that_are_no_numbers_fail_after_everything_else_is_written(classifier, tmp_path):
    paths = [classifier("sound"), classifier("broken", poison=np.nan)]
    with pytest.raises(DivergedError, match="broken") as caught:
        run_bench(paths, tmp_path)
    assert str(tmp_path / "out") in caught.value.hint
    record = RunRecord.read(tmp_path / "out")
    assert record.find("broken", "top1").status == "invalid"
    assert record.find("sound", "top1").status == "ok"
    assert record.find("broken", "size_bytes").status == "ok"


def test_the_python_api_has_its_options_as_keywords(classifier):
    _, *keywords = inspect.signature(kdbench.bench).parameters
    others = {"measure", "torch", "weights", "name", "teacher", "out", "targets", "log", "progress"}
    assert set(keywords) == set(InputOptions.model_fields) | others
    with pytest.raises(InputError, match="meen") as error:
        kdbench.bench([classifier("a")], data="digits", meen=(0.5,))
    assert error.value.hint == "did you mean 'mean'?"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"data": "digits", "scale": -1.0}, "scale"),
        ({"data": "digits", "mean": (0.1, 0.2, 0.3), "std": (1.0,)}, "3 values and std 1"),
        ({"data": "digitz"}, "unknown data set"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_written(classifier, tmp_path, inputs, message):
    with pytest.raises(InputError, match=message):
        run_bench([classifier("a")], tmp_path, inputs)
    assert not (tmp_path / "out").exists()


def test_bad_input_leaves_no_folder_of_its_own_naming(classifier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no model file"):
        run_bench([classifier("a"), tmp_path / "gone.onnx"], tmp_path, out=None)
    assert not (tmp_path / "runs").exists()


def test_a_model_of_other_classes_is_refused(classifier, tmp_path):
    with pytest.raises(InputError, match="20 classes"):
        run_bench([classifier("wide", width=2)], tmp_path)


def test_an_earlier_record_is_not_overwritten(classifier, tmp_path):
    path = classifier("a")
    run_bench([path], tmp_path, timed=False)
    before = (tmp_path / "out" / "record.json").read_bytes()
    with pytest.raises(InputError, match="already holds a record"):
        run_bench([path], tmp_path)
    assert (tmp_path / "out" / "record.json").read_bytes() == before


def test_equal_names_are_told_apart_by_their_folders(classifier, tmp_path):
    path = classifier("model")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.onnx").write_bytes(path.read_bytes())
    paths = [tmp_path / "one" / "model.onnx", tmp_path / "two" / "model.onnx"]
    record, _ = run_bench(paths, tmp_path, timed=False)
    assert [card.id for card in record.models] == ["one-model", "two-model"]
    with pytest.raises(InputError, match="same file"):
        run_bench([path, path], tmp_path / "twice")


def test_cores_that_are_not_there_leave_no_folder(classifier, tmp_path):
    options = QUICK.model_copy(update={"cores": (99_999,)})
    with pytest.raises(InputError, match="core 99999"):
        bench([classifier("m")], accuracy=False, options=options, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_server_that_cannot_keep_up_is_a_result_and_no_failure(classifier, tmp_path):
    options = QUICK.model_copy(update={"mode": ("server",), "rate_per_s": 10_000_000})
    record, _ = bench([classifier("m")], accuracy=False, options=options, out=tmp_path / "out")
    p50 = record.find("m", "latency_p50_ns")
    assert p50.status == "invalid"
    assert "would keep it busy" in p50.reason
