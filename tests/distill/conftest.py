"""Make the tests' own networks importable by their plain name; trainings so short are saved after every epoch."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _saved_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdbench.distill.training.loop.SAVE_INTERVAL_S", 0.0)
