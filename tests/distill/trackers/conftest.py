import pytest

from kdbench.distill.tracker import TrackedModel
from kdbench.results.cards import Epoch

PARAMETERS = {"training.optimizer.lr": 0.1, "training.epochs": 3, "model.name": "tiny", "quantize": True}


@pytest.fixture
def tracked(tmp_path):
    def build(key="k", **changes):
        usual = {"id": "m", "study": "study", "folder": tmp_path / "t", "key": key, "parameters": PARAMETERS}
        return TrackedModel(**{**usual, **changes})

    return build


@pytest.fixture
def curve_of():
    def build(epochs, scale=1.0):
        return [
            Epoch(
                epoch=epoch,
                train_loss=scale / epoch,
                train_top1=0.5,
                validation_loss=2 * scale / epoch,
                validation_top1=0.25 * epoch,
                learning_rate=0.1,
                seconds=1.0,
            )
            for epoch in range(1, epochs + 1)
        ]

    return build
