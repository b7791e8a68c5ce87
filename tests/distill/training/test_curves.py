import csv

import pytest
from distill.networks import tiny
from distill.students import TRAIN, VALIDATION, Stops, batches, training

from kdbench.distill.objective import Objective
from kdbench.distill.training import fit, loop
from kdbench.files import storage
from kdbench.progress import Silent


def rows_of(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


class Reads(Silent):
    """A watcher that reads the table whenever an epoch has ended."""

    def __init__(self, path):
        self.path, self.epochs = path, []

    def step(self, done, total, detail=""):
        if "loss" in detail:
            self.epochs.append([int(row["epoch"]) for row in rows_of(self.path)] if self.path.exists() else [])


def run(folder, progress=None, key="k", network=None, **keys):
    shown, fixed = batches(TRAIN, 16, train=True, seed=5), {"seed": 5, "folder": folder, "key": key}
    options = {"progress": progress or Silent(), **fixed}
    return fit.fit(network or tiny(), Objective(), shown, batches(VALIDATION), training(**keys), **options)


def test_the_table_has_every_epoch_that_has_ended(tmp_path):
    watcher = Reads(tmp_path / fit.CURVE)
    summary = run(tmp_path, watcher)
    # The watcher sees an epoch before the table does.
    assert watcher.epochs == [[], [1], [1, 2], [1, 2, 3]]
    assert [float(row["train_loss"]) for row in rows_of(tmp_path / fit.CURVE)] == [r.train_loss for r in summary.curve]


@pytest.mark.parametrize("save_every_s", [0.0, 1e9], ids=["saved", "not saved"])
def test_a_resumed_training_continues_the_table_without_duplicates(tmp_path, monkeypatch, save_every_s):
    monkeypatch.setattr(loop, "SAVE_INTERVAL_S", save_every_s)
    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", Stops(3))
    assert [row["epoch"] for row in rows_of(tmp_path / "cut" / fit.CURVE)] == ["1", "2"]
    watcher = Reads(tmp_path / "cut" / fit.CURVE)
    run(tmp_path / "cut", watcher)
    assert watcher.epochs == ([[1, 2], [1, 2, 3]] if save_every_s == 0 else [[], [1], [1, 2], [1, 2, 3]])
    rows = rows_of(tmp_path / "cut" / fit.CURVE)
    assert [(int(row["epoch"]), float(row["train_loss"])) for row in rows] == [
        (row.epoch, row.train_loss) for row in whole.curve
    ]


def test_another_trainings_table_is_gone_before_the_first_epoch(tmp_path):
    run(tmp_path)
    watcher = Reads(tmp_path / fit.CURVE)
    run(tmp_path, watcher, key="other")
    assert watcher.epochs[0] == []


def test_growing_the_table_does_not_wait_for_the_disk(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(storage.os, "fsync", flushed.append)
    monkeypatch.setattr(loop, "SAVE_INTERVAL_S", 1e9)
    run(tmp_path / "short", epochs=1)
    short = len(flushed)
    run(tmp_path / "long", epochs=4)
    assert len(flushed) == 2 * short
