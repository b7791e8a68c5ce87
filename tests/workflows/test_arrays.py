"""Studies on data that are no pixels, from the archive to the record, beside a loop of the test's own."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from file_runs import bench
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import nn

from kdbench.api.study import run
from kdbench.data.selection import stratified
from kdbench.errors import InputError
from kdbench.export.onnx import export_onnx
from kdbench.measure.staging import stage
from kdbench.progress import Silent
from kdbench.recipe import InputOptions
from kdbench.recipe.loading import recipe_from
from kdbench.results.run_folder import RunFolder
from kdbench.worker.inputs import prepare
from kdbench.workflows.files.images import TestImages
from kdbench.workflows.files.model_files import load_bench_model
from kdbench.workflows.stages.check import check
from kdbench.workflows.study.networks import teacher_network
from kdbench.workflows.study.plan import plan
from kdbench.workflows.study.run_data import load_run_data

pytestmark = pytest.mark.usefixtures("short_run")

RNG = np.random.default_rng(0)


def classes(count):
    return np.arange(count) % 3


def maps(labels):
    """13 channels far from 0–1, one of them constant."""
    x = RNG.normal(200, 50, (len(labels), 13, 6, 6)).astype(np.float32)
    x[:, 0] += 60 * labels[:, None, None]
    x[:, 4] = 7.3
    return x


def ids(labels):
    x = RNG.integers(3, 20, (len(labels), 3))
    x[:, -1] = labels
    return x


def study(tmp_path, x, layout, model, teacher=None, **keys):
    path, train, test = tmp_path / "data.npz", classes(120), classes(45)
    arrays = {"x_train": x(train), "y_train": train, "x_test": x(test), "y_test": test}
    np.savez(path, **arrays)
    training = {"epochs": 2, "threads": 1, "optimizer": {"name": "adamw", "lr": 0.01}, **keys.pop("training", {})}
    content = {
        "name": "arrays",
        "data": {"name": f"npz:{path}", "layout": layout, **keys},
        "training": training,
        "teacher": [{"name": "teacher", **(teacher or {"model": model})}],
        "student": [{"name": "student", "model": model, "terms": [{"method": "kd"}]}],
        "measure": {"budget_s": 0.1, "sessions": 2, "batch": 8, "energy": "off"},
    }
    return recipe_from(content), arrays


def normalised(arrays, part="x_test", axes=(0, 2, 3)):
    """The inputs of `part`, by the statistics of what is left of the training part without the validation part."""
    remaining, _ = stratified(arrays["y_train"], 0.1, 0)
    trained = arrays["x_train"][remaining].astype(np.float64)
    mean, std = trained.mean(axis=axes, keepdims=True), trained.std(axis=axes, keepdims=True)
    std[std < 1e-3] = 1
    return ((arrays[part] - mean.astype(np.float32)) / std.astype(np.float32)).astype(np.float32)


def top1(file, x, labels):
    session = onnxruntime.InferenceSession(file)
    (logits,) = session.run(None, {session.get_inputs()[0].name: x})
    return float((logits.argmax(axis=1) == labels).mean())


def token_teacher(folder, vocabulary):
    """Return a network of 3 token ids, and its file."""
    network = nn.Sequential(nn.Embedding(vocabulary, 4), nn.Flatten(), nn.Linear(12, 3)).eval()
    export_onnx(network, (3,), folder / "teacher.onnx", torch.int64)
    return network, str(folder / "teacher.onnx")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("x", "layout", "model"),
    [
        (maps, "NCHW", {"name": "convnet", "widths": [4]}),
        (ids, "tokens", {"name": "gru", "hidden": 8, "vocabulary": 20}),
    ],
    ids=["13 channels", "token ids"],
)
def test_a_study_scores_its_files_as_a_loop_does_and_bench_agrees(tmp_path, x, layout, model):
    teacher = None if layout == "NCHW" else {"weights": token_teacher(tmp_path, 20)[1]}  # a GRU exports in seconds
    recipe, arrays = study(tmp_path, x, layout, model, teacher, training={"class_weights": "balanced"})
    record, _ = run(recipe, out=tmp_path / "run", progress=Silent())
    folder = RunFolder(tmp_path / "run")
    inputs = normalised(arrays) if layout == "NCHW" else arrays["x_test"]
    for card in record.models:
        expected = top1(folder.model(card.id), inputs, arrays["y_test"])
        assert record.find(card.id, "top1").value == pytest.approx(expected)
        assert record.find(card.id, "balanced_accuracy").value == pytest.approx(expected)  # 15 samples of each class
        assert any(m.value for m in record.measurements if (m.model, m.metric) == (card.id, "latency_p50_ns"))
        assert card.input_shape == arrays["x_test"].shape[1:]
        if card.id == "student" or teacher is None:  # it was trained here
            assert card.layout == layout
            assert "class weights 1, 1, 1" in card.training.objective
    assert "KL(t‖s)" in record.cards["student"].training.objective
    file = folder.model("student")
    scored, _ = bench([file], data=recipe.data.name, timed=False, out=tmp_path / "bench")
    assert scored.find("student", "top1").value == record.find("student", "top1").value
    assert scored.protocol["test_set_sha256"] == record.protocol["test_set_sha256"]


@pytest.mark.parametrize(
    ("x", "layout", "axes"), [(maps, "NCHW", (0, 2, 3)), (lambda y: maps(y)[:, :, 0], "sequences", (0, 1))]
)
def test_normalisation_is_fitted_to_what_remains_for_training(tmp_path, x, layout, axes):
    recipe, arrays = study(tmp_path, x, layout, "dense")
    run_data = load_run_data(recipe)
    part = run_data.batches(run_data.dataset.test, 45)
    np.testing.assert_allclose(next(iter(part)).inputs.numpy(), normalised(arrays, axes=axes), rtol=2e-5, atol=2e-5)


def test_a_recipe_overrides_what_would_be_fitted(tmp_path):
    recipe, _ = study(tmp_path, maps, "NCHW", "dense", mean=[1.0] * 13)
    known = load_run_data(recipe).preprocessing
    assert known.mean == (1.0,) * 13
    assert known.std[4] == 1
    assert known.scale == 1


@pytest.mark.parametrize(
    ("x", "layout", "model", "keys", "message"),
    [
        (ids, "tokens", {"name": "dense"}, {}, "takes numbers, but the inputs are token ids"),
        (ids, "tokens", {"name": "gru"}, {}, "takes sequences"),
        (ids, "tokens", {"name": "gru", "vocabulary": 10}, {}, "token ids go up to 19, and vocabulary is 10"),
        (ids, "vectors", {"name": "convnet"}, {}, "takes images"),
        (ids, "tokens", {"name": "gru", "vocabulary": 20}, {"augment": {"mixup": 1.0}}, "mixup is for"),
        (ids, "vectors", {"name": "dense"}, {"augment": {"pad": 2}}, "pad is for images"),
        (ids, "vectors", {"name": "dense"}, {"augment": {"cutmix": 1.0}}, "cutmix is for images"),
        (ids, "vectors", {"name": "dense"}, {"training": {"class_weights": [1.0]}}, "1 values, and the data has 3"),
    ],
)
def test_what_does_not_fit_the_inputs_is_refused_before_training(tmp_path, x, layout, model, keys, message):
    recipe, _ = study(tmp_path, x, layout, model, **keys)
    with pytest.raises(InputError, match=message) as caught:
        check(plan(recipe), load_run_data(recipe))
    assert caught.value.hint


def foreign(path, shape, element):
    """A file without a card, whose answers are its inputs."""
    inputs = helper.make_tensor_value_info("x", element, ["n", *shape])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    nodes = [helper.make_node("Cast", ["x"], ["f"], to=1), helper.make_node("Flatten", ["f"], ["flat"])]
    nodes.append(helper.make_node("Slice", ["flat", "zero", "three", "one"], ["y"]))
    ends = [numpy_helper.from_array(np.array([v]), n) for v, n in ((0, "zero"), (3, "three"), (1, "one"))]
    graph = helper.make_graph(nodes, "g", [inputs], [output], ends)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("x", "layout", "declared", "element"),
    [
        (RNG.normal(30, 5, (9, 7)), "vectors", (7,), TensorProto.FLOAT),
        (RNG.normal(30, 5, (9, 4, 7)), "sequences", (4, 7), TensorProto.FLOAT),
        (RNG.normal(30, 5, (9, 4, 7)), "sequences", (28,), TensorProto.FLOAT),
        (RNG.normal(30, 5, (9, 7, 4)), "NCL", (7, 4), TensorProto.DOUBLE),
        (RNG.normal(30, 5, (9, 7, 2, 3)), "NCHW", (7, 2, 3), TensorProto.FLOAT),
        (RNG.integers(0, 50, (9, 7)), "tokens", (7,), TensorProto.INT32),
        (RNG.integers(0, 50, (9, 7)), None, (7,), TensorProto.INT64),
    ],
)
def test_a_file_without_a_card_is_fed_in_the_layout_that_is_named(tmp_path, x, layout, declared, element):
    np.savez(tmp_path / "d.npz", x_test=x, y_test=classes(9))
    path = foreign(tmp_path / "m.onnx", declared, element)
    mean, std = np.arange(7.0), 1 + np.arange(7.0)
    options = {} if x.dtype == np.int64 else {"mean": tuple(mean), "std": tuple(std)}
    inputs = InputOptions(data=f"npz:{tmp_path / 'd.npz'}", data_layout=layout, **options)
    images = TestImages(inputs)
    model, _ = load_bench_model(path, "m", inputs, reference="m", images=images)
    job = stage([model], images.test_set(), tmp_path, 0)["m"]
    fed = prepare(np.load(job.images), job)
    along = {"vectors": (7,), "sequences": (7,), "NCL": (7, 1), "NCHW": (7, 1, 1)}.get(layout, ())
    expected = (x - mean.reshape(along)) / std.reshape(along) if options else x
    np.testing.assert_allclose(fed, expected.reshape(9, *declared), rtol=1e-5, atol=1e-5)
    assert fed.dtype == helper.tensor_dtype_to_np_dtype(element)


@pytest.mark.parametrize(
    ("x", "as_they_are"),
    [
        (RNG.normal(0, 1, (9, 7)), True),
        (RNG.normal(3e4, 1, (9, 7)), True),
        (RNG.uniform(0, 200, (9, 7)), True),
        (RNG.integers(0, 256, (9, 7)).astype(float), False),
    ],
    ids=["below 0", "above 255", "fractions", "pixels"],
)
def test_a_table_is_fed_as_it_is_without_a_card(tmp_path, x, as_they_are):
    np.savez(tmp_path / "d.npz", x_test=x, y_test=classes(9))
    path = foreign(tmp_path / "m.onnx", (7,), TensorProto.FLOAT)
    inputs = InputOptions(data=f"npz:{tmp_path / 'd.npz'}")
    images = TestImages(inputs)
    model, _ = load_bench_model(path, "m", inputs, reference="m", images=images)
    if as_they_are:
        job = stage([model], images.test_set(), tmp_path, 0)["m"]
        np.testing.assert_allclose(prepare(np.load(job.images), job), x, rtol=1e-6)
        assert model.card.preprocessing.scale == 1
        assert "no pixels" in model.card.preprocessing.sources["data_layout"]
    else:
        with pytest.raises(InputError, match="no source defines their scaling") as refused:
            stage([model], images.test_set(), tmp_path, 0)
        assert "--scale 1" in refused.value.hint


@pytest.mark.parametrize(
    ("largest", "scale", "warned"), [(1, 1.0, True), (1, 255.0, False), (1, None, False), (200, 1.0, False)]
)
def test_features_that_the_option_of_pixels_multiplies_are_warned_about(tmp_path, largest, scale, warned):
    x = RNG.uniform(0, largest, (9, 7))
    np.savez(tmp_path / "d.npz", x_test=x, y_test=classes(9))
    path = foreign(tmp_path / "m.onnx", (7,), TensorProto.FLOAT)
    inputs = InputOptions(data=f"npz:{tmp_path / 'd.npz'}", scale=scale)
    images = TestImages(inputs)
    model, warnings = load_bench_model(path, "m", inputs, reference="m", images=images)
    job = stage([model], images.test_set(), tmp_path, 0)["m"]
    np.testing.assert_allclose(prepare(np.load(job.images), job), 255 * x if warned else x, rtol=1e-5)
    assert [warning.code for warning in warnings] == ["scaled_features"] * warned


def described_by_timm(folder, x):
    """A file of images of 16×16, the configuration beside it, and images as test data."""
    config = {"input_size": [3, 16, 16], "mean": [0.5] * 3, "std": [0.25] * 3, "crop_pct": 1.0}
    (folder / "config.json").write_text(json.dumps({"pretrained_cfg": {**config, "interpolation": "bicubic"}}))
    np.savez(folder / "d.npz", x_test=x, y_test=classes(len(x)))
    inputs = InputOptions(data=f"npz:{folder / 'd.npz'}")
    images = TestImages(inputs)
    path = foreign(folder / "m.onnx", (3, 16, 16), TensorProto.FLOAT)
    model, _ = load_bench_model(path, "m", inputs, reference="m", images=images)
    return model, images


def test_floats_that_are_enlarged_are_fed_as_pixels_are(tmp_path):
    pixels = np.where(RNG.random((9, 1, 8, 3)) > 0.5, 255, 0).repeat(8, axis=1).astype(np.uint8)  # columns
    model, images = described_by_timm(tmp_path, (pixels / 255).astype(np.float32))
    job = stage([model], images.test_set(), tmp_path, 0)["m"]
    bicubic = [np.asarray(Image.fromarray(image).resize((16, 16), Image.Resampling.BICUBIC)) for image in pixels]
    expected = (np.stack(bicubic).transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(prepare(np.load(job.images), job), expected, atol=1.6 / 255 / 0.25)


def test_floats_that_are_normalised_already_are_no_pixels(tmp_path):
    model, images = described_by_timm(tmp_path, RNG.normal(0, 1, (9, 3, 16, 16)).astype(np.float32))
    with pytest.raises(InputError, match=r"no pixels from 0 to 255, but config\.json \(timm\) has") as refused:
        stage([model], images.test_set(), tmp_path, 0)
    assert "--scale m=1 --mean m=0 --std m=1" in refused.value.hint


@pytest.mark.parametrize("element", [TensorProto.FLOAT, TensorProto.INT64])
def test_noise_in_place_of_tokens_is_of_ids(tmp_path, element):
    path = foreign(tmp_path / "m.onnx", (7,), element)
    model, _ = load_bench_model(path, "m", InputOptions(accuracy=False), reference="m")
    job = stage([model], None, tmp_path, 0)["m"]
    fed = prepare(np.load(job.images), job)
    assert fed.shape[1:] == (7,)
    assert (fed.dtype == np.int64) is (element == TensorProto.INT64)
    if element == TensorProto.INT64:
        assert set(np.unique(fed)) == {0, 1}  # the size of its vocabulary is not known


def test_pixels_are_not_fed_to_a_model_of_numbers(tmp_path):
    x = RNG.integers(0, 256, (9, 1, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", x_test=x, y_test=classes(9))
    path = foreign(tmp_path / "m.onnx", (1, 4, 4), TensorProto.FLOAT)
    inputs = InputOptions(data=f"npz:{tmp_path / 'd.npz'}", data_layout="NCHW")
    images = TestImages(inputs)
    model, _ = load_bench_model(path, "m", inputs, reference="m", images=images)
    with pytest.raises(InputError, match="trained on numbers") as refused:
        stage([model], images.test_set(), tmp_path, 0)
    assert "--scale m=255" in refused.value.hint


@pytest.mark.parametrize("vocabulary", [20, 19])
def test_an_onnx_file_teaches_on_token_ids(tmp_path, vocabulary):
    network, path = token_teacher(tmp_path, vocabulary)
    recipe, _ = study(tmp_path, ids, "tokens", {"name": "gru", "vocabulary": 20, "hidden": 4}, {"weights": path})
    data, jobs = load_run_data(recipe), plan(recipe)
    if vocabulary < 20:
        with pytest.raises(InputError, match="token ids go up to 19, and vocabulary is 19"):
            check(jobs, data)
        return
    check(jobs, data)
    (batch, *_) = data.batches(data.train, 16)
    with torch.no_grad():
        torch.testing.assert_close(teacher_network(jobs[0], data, None)(batch.inputs), network(batch.inputs))
