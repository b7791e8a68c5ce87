"""A run that is tracked while it trains, is interrupted, and continues."""

import pytest

from kdbench.api.study import run
from kdbench.distill import tracker
from kdbench.distill.training import loop
from kdbench.errors import InputError
from kdbench.extras import install
from kdbench.progress import Silent
from kdbench.recipe.loading import recipe_from
from kdbench.workflows.train import train

pytestmark = pytest.mark.usefixtures("short_run")

CONTENT = {
    "name": "tracked",
    "data": {"name": "digits", "validation": 0.2, "subset": {"random": 200}},
    "training": {"epochs": 3, "batch": 32, "threads": 1, "optimizer": {"name": "adamw", "lr": 0.01}},
    "teacher": [{"name": "teacher", "model": {"name": "convnet", "widths": [4, 8]}}],
    "measure": {"budget_s": 0.1, "sessions": 2, "batch": 16, "energy": "off"},
    "analysis": {"train_samples": 0},
}


class Stops(Silent):
    def step(self, done, total, detail=""):
        if detail.startswith("epoch 3/"):
            raise KeyboardInterrupt


def test_both_trackers_have_one_run_with_curve_and_results(tmp_path, monkeypatch):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(loop, "SAVE_INTERVAL_S", 0.0)
    recipe, out = recipe_from({**CONTENT, "track": ["tensorboard", "mlflow"]}), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, out, progress=Stops())
    record, _ = run(recipe, out, resume=True)
    top1 = next(m.value for m in record.measurements if m.metric == "top1" and not m.axes)
    losses = [(row.epoch, pytest.approx(row.validation_loss)) for row in record.models[0].training.curve]

    events = accumulator.EventAccumulator(str(out / "tracking" / "tensorboard" / "teacher"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("validation_loss")] == losses
    assert [event.value for event in events.Scalars("final/top1")] == [pytest.approx(top1)]

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{out / 'tracking' / 'mlflow' / 'mlflow.db'}")
    (mlflow_run,) = client.search_runs([client.get_experiment_by_name("tracked").experiment_id])
    history = client.get_metric_history(mlflow_run.info.run_id, "validation_loss")
    assert sorted((point.step, point.value) for point in history) == losses
    assert mlflow_run.data.metrics["top1"] == pytest.approx(top1)
    assert mlflow_run.data.params["training.optimizer.lr"] == "0.01"


def test_a_missing_extra_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(tracker, "find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        train(recipe_from({**CONTENT, "track": "mlflow"}), tmp_path / "out")
    assert (caught.value.exit_code, caught.value.hint) == (3, install("mlflow"))
    assert not (tmp_path / "out").exists()
