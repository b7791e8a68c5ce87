"""Studies on data that are no pixels, from the archive to the record, beside a loop of the test's own."""

import numpy as np
import onnxruntime
import pytest

from kdbench.data.selection import stratified
from kdbench.errors import InputError
from kdbench.progress import Silent
from kdbench.recipe.loading import recipe_from
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.bench import bench
from kdbench.workflows.run import run
from kdbench.workflows.stages.plan import plan
from kdbench.workflows.stages.run_data import load_run_data
from kdbench.workflows.stages.train import check

pytestmark = pytest.mark.usefixtures("one_process")
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
    x = RNG.integers(3, 20, (len(labels), 7))
    x[:, -1] = labels
    return x


def study(tmp_path, x, layout, model, **keys):
    path, train, test = tmp_path / "data.npz", classes(120), classes(45)
    arrays = {"x_train": x(train), "y_train": train, "x_test": x(test), "y_test": test}
    np.savez(path, **arrays)
    training = {"epochs": 2, "threads": 1, "optimizer": {"name": "adamw", "lr": 0.01}, **keys.pop("training", {})}
    content = {
        "name": "arrays",
        "data": {"name": f"npz:{path}", "layout": layout, **keys},
        "training": training,
        "teacher": [{"name": "teacher", "model": model}],
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
    recipe, arrays = study(tmp_path, x, layout, model, training={"class_weights": "balanced"})
    record, _ = run(recipe, out=tmp_path / "run", progress=Silent())
    folder = RunFolder(tmp_path / "run")
    inputs = normalised(arrays) if layout == "NCHW" else arrays["x_test"]
    for card in record.models:
        expected = top1(folder.model(card.id), inputs, arrays["y_test"])
        assert record.find(card.id, "top1").value == pytest.approx(expected)
        assert record.find(card.id, "balanced_accuracy").value == pytest.approx(expected)  # 15 samples of each class
        assert any(m.value for m in record.measurements if (m.model, m.metric) == (card.id, "latency_p50_ns"))
        assert (card.layout, card.input_shape) == (layout, arrays["x_test"].shape[1:])
        assert "class weights 1, 1, 1" in card.training.objective
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
        (ids, "tokens", {"name": "dense"}, {}, "takes numbers, and the inputs are token ids"),
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
