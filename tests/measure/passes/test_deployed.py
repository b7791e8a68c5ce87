"""The sizes of converted files, and the memory that a runtime for microcontrollers reports."""

import pytest

from kdbench.measure.context import Context, Start
from kdbench.measure.passes.deployed import DeployedPass
from kdbench.recipe.tables.measure import Measure
from kdbench.worker.jobs import JobModel

ALL = Measure(runtime=("onnxruntime", "openvino", "litert", "tflite-micro"))


@pytest.fixture
def admitted(bench_model, tiny, tmp_path):
    file = tmp_path / "m.tflite"
    file.write_bytes(bytes(1234))
    model = bench_model(tiny("m"))
    job = JobModel("m", str(model.path), "x", "y", "float32", "NCHW", (1, 2, 2), None, files={".tflite": str(file)})
    starts = {(name, "m"): Start(1, 1, 0.0, {"arena_bytes": 5678.0}) for name in ALL.runtime[1:]}
    return Context([model], ALL, jobs={"m": job}, starts=starts)


def test_each_runtime_has_the_size_of_the_file_that_it_takes(admitted):
    values = {(m.axes["runtime"], m.metric): m.value for m in DeployedPass().run(admitted).measurements}
    assert values == {
        ("litert", "deployed_bytes"): 1234,
        ("tflite-micro", "deployed_bytes"): 1234,
        ("tflite-micro", "arena_bytes"): 5678,
    }


def test_it_expects_what_it_measures(admitted):
    expected = {(e.axes["runtime"], e.metric) for e in DeployedPass().expected(admitted)}
    assert expected == {(m.axes["runtime"], m.metric) for m in DeployedPass().run(admitted).measurements}
