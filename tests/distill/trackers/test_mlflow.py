"""What MLflow's own client finds."""

from functools import partial

import pytest
from distill.trackers.tracked import track_training
from libraries import require

require("mlflow", "alembic")


@pytest.fixture(autouse=True)
def _store_in_the_folder(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


track = partial(track_training, "mlflow")


def runs(uri):
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("study")
    return client, client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])


def points(client, run, metric="train_loss"):
    history = client.get_metric_history(run.info.run_id, metric)
    return sorted((point.step, pytest.approx(point.value)) for point in history)


def test_a_model_is_a_run_which_an_interrupted_training_continues(tracked, curve_of):
    model, curve = tracked(), curve_of(5)
    uri = f"sqlite:///{model.folder / 'mlflow.db'}"
    track(model, curve[:4], complete=False)
    client, (run,) = runs(uri)
    assert run.info.status == "KILLED"
    track(model, curve, start=2, results={"top1": 0.75, "latency_p50_ns/threads-1": 1500.0})
    client, (again,) = runs(uri)
    assert (again.info.run_id, again.info.run_name, again.info.status) == (run.info.run_id, "m", "FINISHED")
    assert points(client, again) == [(row.epoch, row.train_loss) for row in curve]
    assert points(client, again, "top1") == [(0, 0.75)]
    assert again.data.metrics["latency_p50_ns/threads-1"] == 1500.0
    assert again.data.params == {key: str(value) for key, value in model.parameters.items()}
    # Another training of the model is another run, in any store.
    track(tracked("other", parameters={"training.epochs": 9}), curve_of(2))
    client, (_, other) = runs(uri)
    assert (other.data.params, len(points(client, other))) == ({"training.epochs": "9"}, 2)


def test_another_store_can_be_named(tracked, curve_of, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    track(tracked(), curve_of(4), start=3)
    client, (run,) = runs(f"sqlite:///{tmp_path / 'elsewhere.db'}")
    assert [step for step, _ in points(client, run)] == [1, 2, 3, 4]
    assert not (tracked().folder / "mlflow.db").exists()
