"""How long processes may be silent: longer the more one step can take."""

from pathlib import Path

import pytest

from kdbench.worker.jobs import EnergyJob, JobModel, LatencyJob, MemoryJob, OfflineJob, TimedConfiguration
from kdbench.worker.timeouts import silence_limit_s


@pytest.fixture(params=["m.onnx", "m[1].onnx"])
def model(tmp_path, request):
    path = tmp_path / request.param
    path.write_bytes(bytes(10_000))
    return JobModel("m", str(path), "x", "y", "float32", "NCHW", (1, 8, 8), fixed_batch=None)


def test_a_call_may_take_a_second_a_sample_and_a_model_as_long_as_its_file_is_large(model):
    job = MemoryJob(model=model, batch=1, calls=3, null=model, provider="cpu", threads=1)
    least = silence_limit_s(job)
    assert 30 < least < 50
    assert silence_limit_s(job, batch=101) == least + 100
    Path(f"{model.path}.data").write_bytes(bytes(20_000_000))
    assert silence_limit_s(job) == pytest.approx(least + 2)


def test_what_the_plan_allows_is_allowed(model):
    shared = {"models": (model,), "provider": "cpu", "threads": 1}
    options = {**shared, "seed": 0, "session": 0, "floor": None, "samples": ""}
    at_once = TimedConfiguration(threads=1, batch=1, models=(0,))
    plain = LatencyJob(**options, runtime="onnxruntime", configurations=(at_once,))
    paced = TimedConfiguration(threads=1, batch=1, models=(0,), budget_s=100, mode="paced", gap_ms=60_000)
    assert silence_limit_s(plain) < 50
    planned = LatencyJob(**options, runtime="torch", configurations=(paced,))
    assert silence_limit_s(planned) > 100 + 60
    offline = OfflineJob(**shared, budget_ns=7e9, repeats=1, least_ns=1e9)
    assert silence_limit_s(offline) == pytest.approx(silence_limit_s(plain) + 7)
    energy = {"sources": ("s",), "rounds": 1, "least_ns": 10e9, "least_updates": 100, "settle_ns": 0}
    assert silence_limit_s(EnergyJob(**shared, runs=(("m", 1),), **energy)) > silence_limit_s(plain) + 100
