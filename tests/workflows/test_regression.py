"""A regression from the recipe to the report, against numpy; and its file measured on the user's arrays."""

import numpy as np
import pytest
from file_runs import bench
from safetensors.numpy import load_file
from short_runs import shorten

from kdbench import data
from kdbench.api.study import run
from kdbench.distill.training import fit
from kdbench.recipe.loading import load_recipe, recipe_from
from kdbench.recipe.tables.measure import Measure
from kdbench.workflows.stages import export_ahead
from kdbench.workflows.study.run_data import load_run_data

NAME = "noisy_linear:features=6,samples=100,test=80,targets=2"
SGD = {"optimizer": {"name": "sgd", "lr": 0.8, "momentum": 0.0}, "schedule": {"name": "constant"}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A linear teacher and students with a quarter, and with none, of their weights on it."""
    content = {
        "name": "small",
        "data": {"name": NAME, "target_noise": {"std": 0.5}},
        "training": {"epochs": 60, "batch": 200, "threads": 1, "precision": "32", "keep": "last", **SGD},
        "teacher": [{"name": "teacher", "model": "linear", "data": {"target_noise": {"std": 0.2, "seed": 1}}}],
        "student": [
            {"name": "alone", "model": "linear"},
            {"name": "taught", "model": "linear", "ce_weight": 0.75, "terms": [{"method": "mse", "mse_weight": 0.25}]},
        ],
        "measure": {"times": False},
    }
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        patch.setattr(export_ahead, "is_safe_ahead", lambda _: False)  # its process is tested with the stage
        return run(recipe_from(content), tmp_path_factory.mktemp("run") / "out")


def predicted(folder, id_, inputs):
    weights = load_file(folder / "checkpoints" / id_ / fit.WEIGHTS)
    weight, bias = (next(weights[name] for name in weights if name.endswith(end)) for end in ("weight", "bias"))
    return inputs @ weight.T + bias


@pytest.mark.slow
class TestRun:
    def test_errors_are_those_of_the_trained_weights_on_the_test_part(self, finished):
        record, folder = finished
        test = data.load(NAME).test
        # Inputs are normalised by what is fitted to the training part: the card says how.
        pre = record.cards["taught"].preprocessing
        inputs = (test.inputs - np.array(pre.mean)) / np.array(pre.std)
        outputs = {id_: predicted(folder, id_, inputs) for id_ in record.cards}
        mse = {id_: ((values - test.labels) ** 2).mean() for id_, values in outputs.items()}
        for id_, value in mse.items():
            assert record.find(id_, "mse").value == pytest.approx(value, rel=1e-4)
            assert record.find(id_, "rmse").value == pytest.approx(value**0.5, rel=1e-4)
        between = ((outputs["taught"] - outputs["teacher"]) ** 2).mean()
        assert record.find("taught", "teacher_mse").value == pytest.approx(between, rel=1e-3)
        ratio = record.find_pair("taught", "rmse_ratio").value
        assert ratio == pytest.approx((mse["teacher"] / mse["taught"]) ** 0.5, rel=1e-4)
        assert mse["teacher"] < mse["taught"] < mse["alone"]

    def test_errors_on_training_samples_are_those_on_the_noisy_targets(self, finished):
        record, folder = finished
        recipe = recipe_from(record.recipe)
        run_data, pre = load_run_data(recipe), record.cards["alone"].preprocessing
        for entry in (*recipe.teacher, *recipe.student):
            part = run_data.part_of(entry.data).split
            inputs = (part.inputs - np.array(pre.mean)) / np.array(pre.std)
            errors = predicted(folder, entry.name, inputs) - part.labels
            on_train = record.find(entry.name, "rmse", part="train").value
            assert on_train == pytest.approx((errors**2).mean() ** 0.5, rel=1e-4)
            if entry.name == "alone":  # it is the least-squares fit of these targets
                design = np.hstack([inputs, np.ones((len(inputs), 1))])
                (_, residuals, *_) = np.linalg.lstsq(design, part.labels, rcond=None)
                assert on_train == pytest.approx((residuals.sum() / part.labels.size) ** 0.5, rel=1e-4)

    def test_trainings_end_at_the_closed_form(self, finished):
        record, _ = finished
        for id_ in record.cards:
            exact = record.find(id_, "closed_form_mse").value
            assert record.find(id_, "mse").value == pytest.approx(exact, rel=1e-4)
            assert 0.2 < record.find(id_, "expected_mse").value / exact < 5

    def test_the_card_says_what_the_numbers_are_and_nothing_is_timed(self, finished):
        record, folder = finished
        card = record.cards["taught"]
        assert (card.targets, card.classes) == (("y0", "y1"), None)
        assert card.training.objective == "0.75·MSE + 0.25·MSE(s, t)"
        assert not [m for m in record.measurements if m.metric in {"top1", "loss", "latency_p50_ns", "load_ns"}]
        report = (folder / "report.md").read_text(encoding="utf-8")
        assert "RMSE" in report
        assert "Closed form" in report

    def test_the_file_has_the_same_errors_on_the_users_own_arrays(self, finished, tmp_path, short_run):
        record, folder = finished
        test = data.load(NAME).test
        np.savez(tmp_path / "mine.npz", x_test=test.inputs, y_test=test.labels)
        files = [folder / "models" / f"{id_}.onnx" for id_ in ("teacher", "taught")]
        quick = Measure(times=False, energy="off")
        source = {"data": f"npz:{tmp_path / 'mine.npz'}", "data_layout": "vectors"}
        again, _ = bench(files, options=quick, out=tmp_path / "out", **source)
        for metric in ("mse", "mae", "r2"):
            expected = record.find("taught", metric).value
            assert again.find("taught", metric).value == pytest.approx(expected, rel=1e-5)
        assert again.find("taught", "teacher_mse").value == pytest.approx(record.find("taught", "teacher_mse").value)


def test_the_shipped_study_sweeps_the_teachers_weight_by_the_noise():
    recipe = load_recipe("noisy_linear")
    points = {(student.axes["mse_weight"], student.axes["std"]) for student in recipe.student}
    assert len(points) == len(recipe.student) == 15
    for student in recipe.student:
        assert student.ce_weight + student.terms[0].options["mse_weight"] == 1
        assert student.data.target_noise.std == student.axes["std"]
