"""Jobs survive the way to a measuring process."""

import json

import pytest

from kdbench.worker.batch_sweep import Step, Sweep
from kdbench.worker.jobs import EnergyJob, JobModel, LatencyJob, Network, TimedConfiguration, decode, job_of, to_json

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


@pytest.mark.parametrize("job", [LATENCY, ENERGY])
def test_a_job_is_itself_again(job):
    assert job_of(json.loads(json.dumps(to_json(job)))) == job


def test_results_are_read_by_their_types_too():
    sweep = Sweep(4, [Step(1, 5.0), Step(2, 6.0)], "saturated")
    value = {
        "next_batch": 4,
        "steps": [{"batch": 1, "call_ns": 5.0}, {"batch": 2, "call_ns": 6.0}],
        "ended": "saturated",
    }
    assert decode(Sweep, value) == sweep
