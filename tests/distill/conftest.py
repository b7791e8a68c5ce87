"""Trainings so short are saved after every epoch."""

import pytest


@pytest.fixture(autouse=True)
def _saved_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdbench.distill.training.loop.SAVE_INTERVAL_S", 0.0)
