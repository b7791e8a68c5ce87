"""Two files timed beside each other: a product of two large matrices, and a small one."""

import numpy as np
import onnx
import pytest
from small_graphs import model_of

from kdbench.errors import MeasurementError
from kdbench.measure.bench_model import BenchModel
from kdbench.measure.latency import pair
from kdbench.modelfile.facts import inspect
from kdbench.progress import Silent
from kdbench.recipe import Measure
from kdbench.results.cards import ModelCard


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(pair, "SESSIONS", 2)
    monkeypatch.setattr(pair, "SESSION_S", 0.1)


@pytest.fixture
def dense(tmp_path):
    def make(id_, hidden, operator="MatMul"):
        shapes = {"w": (64, hidden), "v": (hidden, 8)}
        weights = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
        nodes = [("MatMul", ["x", "w"], ["h"], {}), (operator, ["h", "v"], ["y"], {})]
        model = model_of(nodes, weights, {"x": ["n", 64]})
        model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", 1, ["n", 8]))
        path = tmp_path / f"{id_}.onnx"
        onnx.save(model, path)
        facts = inspect(path)
        card = ModelCard(
            id=id_, name=id_, role="student", file=path.name, sha256=facts.sha256, input_shape=(64,), layout="flat",
            classes=8, parameters=facts.parameters,
        )  # fmt: skip
        return BenchModel(card=card, path=path, facts=facts)

    return make


def test_a_model_of_less_work_takes_a_smaller_share_of_the_time(dense, tmp_path):
    times = pair.time_pair(dense("large", 40_000), dense("small", 8), Measure(), tmp_path, Silent())
    assert times.low <= times.share <= times.high
    assert times.share < 0.7
    assert 1e3 < times.time_ns < 1e8  # between a microsecond and a tenth of a second


def test_a_file_that_does_not_run_is_an_error(dense, tmp_path):
    with pytest.raises(MeasurementError, match="broken could not be timed"):
        pair.time_pair(dense("large", 8), dense("broken", 8, "Nonsense"), Measure(), tmp_path, Silent())
