"""Sessions of pytest inside of a test, in which measuring is a matter of looking numbers up."""

from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from kdbench.data import DATASETS
from kdbench.files import storage
from kdbench.report import FORMATS
from kdbench.results.cards import ModelCard
from kdbench.results.records import Environment, Interval, Pair, RunRecord, measured, missing
from kdbench.results.run_folder import RunFolder
from kdbench.results.samples import write_samples
from kdbench.workflows.bench import model_ids
from kdbench.workflows.stages.results import RunResults

AT = {"provider": "cpu", "threads": 1, "batch": 1}
INSTALLED = bool(list(entry_points(group="pytest11", name="kdbench")))
_QUICKER = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")  # what no inner session has a use for
CALL_TIMES_NS = [480_000, 470_000, 500_000, 490_000]


def interval(low, high):
    return Interval(low=low, high=high)


def card(id_, path, role, state):
    sha256 = storage.sha256(path) if state == 1.0 else storage.content_hash(state)
    return ModelCard(
        id=id_, name=id_, role=role, file=path.name, sha256=sha256,
        input_shape=(1, 2, 2), classes=2, parameters=10,
    )  # fmt: skip


def record_of(ids, paths, *, data=None, timed=True, energy="off", slower=1.0):
    """Return a record of the made-up numbers; of latencies `slower` times as long, those of other files."""
    measurements, pairs = [], []
    for id_ in ids:
        measurements += [measured(id_, "size_bytes", 1_500_000), measured(id_, "macs", 1000)]
        if data is not None:
            measurements.append(measured(id_, "top1", 0.9173, interval=interval(0.9118, 0.9225), n=10_000))
        if timed:
            p50 = 481_000 * slower
            measurements += [
                measured(id_, "latency_p50_ns", p50, axes=AT, interval=interval(p50 * 0.98, p50 * 1.02), n=4),
                missing(id_, "latency_p99_ns", "needs 662 samples", axes=AT, hint="give it a longer --budget"),
                measured(id_, "latency_mean_ns", p50, axes=AT, n=4, unstable="the sessions disagree by 31 %"),
            ]
        if energy != "off":
            measurements.append(measured(id_, "energy_j", 0.012, axes=AT, interval=interval(0.011, 0.013), n=5))
    if len(ids) > 1:
        whom = {"teacher": ids[0], "student": ids[1]}
        pairs.append(Pair(metric="size_ratio", value=4.0, **whom))
        if timed:
            pairs.append(Pair(metric="latency_ratio", axes=AT, value=3.4, interval=interval(3.2, 3.6), n=8, **whom))
    return RunRecord(
        kind="bench", name="bench", created="2025-06-01T12:00:00+00:00", command="pytest --benchmark",
        environment=Environment(host={"cpu": "Example CPU", "cores": 4}, libraries={"onnxruntime": "1.22.0"}),
        models=tuple(
            card(id_, path, "teacher" if number == 0 else "student", slower)
            for number, (id_, path) in enumerate(zip(ids, paths, strict=True))
        ),
        measurements=tuple(measurements), pairs=tuple(pairs),
    )  # fmt: skip


def write_run(record, folder):
    """Write a record with the call times of its models, as a measuring pass does."""
    storage.make_folder(folder)
    key = "cpu-t1-b1/ns"
    write_samples(RunFolder(folder).samples, {f"{card.id}/{key}": np.array(CALL_TIMES_NS) for card in record.models})
    record.write(RunFolder(folder).record)


@pytest.fixture
def measurements(monkeypatch):
    """Replace measuring by made-up numbers; returns the calls, one per measurement."""
    calls = []

    def measure(paths, *, inputs, timed, options, out, **rest):
        names = [path.name for path in paths]
        calls.append({"paths": names, "inputs": inputs, "timed": timed, "options": options, **rest})
        ids = model_ids(paths)
        record = record_of(ids, paths, data=inputs.data, timed=timed, energy=options.energy)
        write_run(record, out)
        return RunResults(RunFolder(out), record, {})

    monkeypatch.setattr("kdbench.workflows.bench.bench_models", measure)
    return calls


def write_model(path: Path, scale: float = 1.0) -> Path:
    """Write a model of two classes for 1 x 2 x 2 images: the difference of two pixels, times `scale`."""
    weight = scale * np.array([[1, 0], [0, 1], [0, 0], [0, 0]], np.float32)
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 2, 2])
    logits = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    tensors = [
        helper.make_tensor("w", TensorProto.FLOAT, weight.shape, weight.ravel()),
        helper.make_tensor("flat", TensorProto.INT64, [2], [-1, 4]),
    ]
    nodes = [helper.make_node("Reshape", ["x", "flat"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    graph = helper.make_graph(nodes, "g", [image], [logits], tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="session")
def _loaded():
    """Load what an inner session would: it forgets the modules it has loaded, and torch cannot be loaded twice."""
    for name in ("report.render.markdown", "worker.runtimes.onnxruntime", "testing.fixture"):
        import_module(f"kdbench.{name}")
    DATASETS.names()
    FORMATS.names()
    import_module("torchvision")


@pytest.fixture
def run(_loaded, pytester, monkeypatch):
    """Return the runner of a test file in a project with two models, with kdbench or without."""
    for name in ("GITHUB_STEP_SUMMARY", "PYTEST_XDIST_WORKER"):  # the outer session's
        monkeypatch.delenv(name, raising=False)
    for number, name in enumerate(("teacher", "student"), 1):
        write_model(pytester.path / f"{name}.onnx", scale=number)

    def inner(tests, *arguments, without=False):
        pytester.makepyfile(test_it=tests)
        plugin = ("-p", "no:kdbench") if without else () if INSTALLED else ("-p", "kdbench.pytest_plugin")
        return pytester.runpytest_inprocess(*plugin, *_QUICKER, *arguments)

    return inner


@pytest.fixture
def store(pytester, run):
    """Return the writer of a stored run: its folder's name, and how much longer its latencies are."""

    def write(name, *, slower=1.0, data="digits", models=("student",)):
        paths = [pytester.path / f"{model}.onnx" for model in models]
        write_run(record_of(models, paths, data=data, slower=slower), pytester.path / name)
        return pytester.path / name

    return write
