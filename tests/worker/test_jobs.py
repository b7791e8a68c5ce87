"""Jobs survive the way to a measuring process."""

import json
from dataclasses import replace

import pytest

from kdbench.worker.batch_sweep import Step, Sweep
from kdbench.worker.decoding import decode
from kdbench.worker.jobs import (
    BatchesJob,
    EnergyJob,
    JobModel,
    LatencyJob,
    LogitsJob,
    MemoryJob,
    Network,
    TimedConfiguration,
    job_of,
)

NETWORK = Network("somewhere:build", ("dense", (1, 4, 4), 5), {"hidden": [8]}, "weights.safetensors")
MODEL = JobModel("m", "m.onnx", "x", "y", "float32", "NCHW", (1, 4, 4), None, "i.npy", 255.0, (0.5,), (1.0,), NETWORK)
WHERE = {"provider": "cpu", "threads": 2}
LATENCY = LatencyJob(
    runtime="torch",
    models=(MODEL,),
    configurations=(TimedConfiguration(number=0, threads=1, batch=8, models=(0,), budget_s=0.5),),
    seed=0,
    session=3,
    floor=None,
    samples="s.npz",
    cores=(3, 1),
    **WHERE,
)
ENERGY = EnergyJob(
    models=(MODEL,),
    runs=(("m", 1), ("m", 8)),
    sources=("rapl",),
    rounds=5,
    least_ns=1.0,
    least_updates=20,
    settle_ns=0.0,
    **WHERE,
)
A, B, C = THREE = tuple(replace(MODEL, id=id_) for id_ in "abc")


@pytest.mark.parametrize("job", [LATENCY, ENERGY])
def test_a_job_is_itself_again(job):
    assert job_of(json.loads(json.dumps(job.to_json()))) == job


def test_results_are_read_by_their_types_too():
    sweep = Sweep(4, [Step(1, 5.0), Step(2, 6.0)], "saturated")
    value = {
        "next_batch": 4,
        "steps": [{"batch": 1, "call_ns": 5.0}, {"batch": 2, "call_ns": 6.0}],
        "ended": "saturated",
    }
    assert decode(Sweep, value) == sweep


def test_a_job_calls_its_models():
    assert MemoryJob(model=A, batch=1, calls=3, null=B, **WHERE).called_models == (A,)
    assert LATENCY.called_models == ENERGY.called_models == (MODEL,)


def test_a_job_without_some_of_its_models():
    batches = BatchesJob(models=THREE, batches=(1, 8), samples=4, **WHERE)
    assert batches.without({"b"}) == replace(batches, models=(A, C))
    assert batches.without({"a", "b", "c"}) is None
    energy = replace(ENERGY, models=THREE, runs=(("a", 1), ("b", 1), ("b", 8), ("c", 1)))
    assert energy.without({"b"}) == replace(ENERGY, models=(A, C), runs=(("a", 1), ("c", 1)))
    assert energy.without({"a", "b", "c"}) is None


def test_outputs_that_are_written_are_not_computed_again(tmp_path):
    files = tuple(str(tmp_path / f"{model.id}.npy") for model in THREE)
    job = LogitsJob(models=THREE, files=files, batches=(1, 2, None), **WHERE)
    assert job.without({}) == job
    assert job.without({"a"}) == replace(job, models=(B, C), files=files[1:], batches=(2, None))
    (tmp_path / "c.npy").touch()
    assert job.without({"a"}) == replace(job, models=(B,), files=files[1:2], batches=(2,))
    assert job.without({"a", "b"}) is None


def test_the_models_of_a_session_keep_their_positions():
    """A configuration of models that all failed is left out, and so is a model that is in none."""
    of_two, of_one = (TimedConfiguration(threads=1, batch=b, models=m) for b, m in ((1, (0, 2)), (8, (1,))))
    job = replace(LATENCY, models=THREE, configurations=(of_two, of_one))
    assert job.called_models == THREE
    rest = job.without({"a", "b"})
    assert rest == replace(job, configurations=(replace(of_two, models=(2,)),))
    assert rest.called_models == (C,)
    assert rest.without({"c"}) is None
