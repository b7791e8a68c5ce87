"""A model with a .tflite file beside it, measured as for a microcontroller, and judged."""

import numpy as np
import onnx
import pytest

pytest.importorskip("tflite_micro", reason="tflite-micro is not installed")
pytest.importorskip("ai_edge_litert", reason="ai-edge-litert, whose schema the test's file is written with, is missing")

from small_graphs import model_of
from small_tflite import tflite_of

from kdbench.judge.readiness import judge
from kdbench.judge.target import target_from
from kdbench.recipe import InputOptions, Measure
from kdbench.results.records import RunRecord
from kdbench.workflows import bench

CHANNELS, HEIGHT, WIDTH = SHAPE = (3, 4, 5)
WEIGHTS = np.random.default_rng(0).integers(-9, 10, (6, 60))


@pytest.fixture
def record(tmp_path):
    weights = WEIGHTS.T.astype(np.float32)
    nodes = [("Flatten", ["x"], ["flat"], {}), ("MatMul", ["flat", "w"], ["y"], {})]
    onnx.save(model_of(nodes, {"w": weights}, {"x": ["n", *SHAPE]}), tmp_path / "m.onnx")
    last = WEIGHTS.reshape(6, *SHAPE).transpose(0, 2, 3, 1).reshape(6, -1)
    (tmp_path / "m.tflite").write_bytes(tflite_of(last, (HEIGHT, WIDTH, CHANNELS)))
    images = np.random.default_rng(1).standard_normal((40, *SHAPE)).astype(np.float32)
    np.savez(tmp_path / "set.npz", x_test=images, y_test=(images.reshape(40, -1) @ weights).argmax(axis=1))
    options = Measure(runtime=("onnxruntime", "tflite-micro"), budget_s=0.2, sessions=2, batch=(2,), energy="off")
    inputs = InputOptions(data=f"npz:{tmp_path / 'set.npz'}", scale=1.0)
    bench.bench_models(
        [tmp_path / "m.onnx"], inputs=inputs, options=options, out=tmp_path / "run", command="kdbench bench"
    )
    return RunRecord.read(tmp_path / "run")


def test_accuracy_and_memory_decide_and_no_time_is_invented(record, tmp_path):
    measurements = {m.metric: m for m in record.measurements if m.axes.get("runtime") == "tflite-micro"}
    assert measurements["deployed_bytes"].value == (tmp_path / "m.tflite").stat().st_size
    assert measurements["arena_bytes"].value > 60 * 4
    assert measurements["answers_changed"].value == 0
    assert measurements["top1"].value == 1
    assert not [metric for metric in measurements if metric.endswith("_ns")]
    assert record.find("m", "latency_p50_ns", batch=1).value  # onnxruntime's

    def verdict(arena):
        limits = {"top1": {"min": "50 %"}, "deployed_bytes": {"max": "64 kB"}, "arena_bytes": {"max": arena}}
        criteria = [{"metric": metric, **limit} for metric, limit in limits.items()]
        target = {"name": "mcu", "device": {"runtime": "tflite-micro"}, "criterion": criteria}
        return judge(record, target_from(target)).overall

    assert verdict("64 kB") == "READY"
    assert verdict("64 bytes") == "NOT READY"
