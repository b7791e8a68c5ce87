"""What Weights & Biases' own messages say in the files of offline runs."""

import pytest
from distill.trackers.tracked import track_training
from libraries import require
from wandb_files import named, runs_of, started, summary_of

require("wandb")


def test_an_interrupted_training_goes_on_in_the_same_run_offline(tracked, curve_of, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    model, curve = tracked(), curve_of(3)
    monkeypatch.setenv("WANDB_CACHE_DIR", str(model.folder.parent / "cache"))
    track_training("wandb", model, curve[:2], complete=False)
    track_training("wandb", model, curve, start=1, results={"top1": 0.75, "latency_p50_ns/threads-1": 1500.0})
    first, second = runs_of(model.folder)
    begun, again = started(first), started(second)
    assert begun.run_id == again.run_id
    assert (begun.project, begun.display_name) == ("study", "m")
    assert named(begun.config.update).items() >= model.parameters.items()
    rows = [[named(m.history.item) for m in run if m.WhichOneof("record_type") == "history"] for run in (first, second)]
    assert [[row["_step"] for row in of_run] for of_run in rows] == [[1, 2], [3]]
    assert rows[1][0]["train_loss"] == pytest.approx(curve[2].train_loss)
    summary = summary_of(second)
    assert summary["top1"] == 0.75
    assert summary["latency_p50_ns/threads-1"] == 1500.0
