"""A run's models measured by torch beside onnxruntime, and where onnxruntime cannot: one in real processes."""

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from short_runs import shorten

from kdbench import models
from kdbench.measure import admission, runner
from kdbench.measure.bench_model import BenchModel, Refusal, TestSet, network_of
from kdbench.measure.harness import measure
from kdbench.modelfile.facts import inspect
from kdbench.recipe.tables.measure import Measure
from kdbench.results.cards import ModelCard
from kdbench.results.preprocessing import Preprocessing
from kdbench.results.run_folder import RunFolder, card_path
from kdbench.statistics import Clustered, undisturbed

pytestmark = pytest.mark.slow

SHAPE = (1, 4, 4)
CLASSES = 5
MIN_NS = 1000  # no call of a network through torch costs less
QUICK = Measure(batch=(8,), sessions=2, budget_s=1.0, energy="off", runtime=("onnxruntime", "torch"))
TEST = TestSet(np.random.default_rng(0).integers(0, 256, (40, *SHAPE), np.uint8), np.arange(40) % CLASSES, CLASSES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> RunFolder:
    """What a run leaves of a teacher and a student: files, weights and cards."""
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    for id_, hidden in (("teacher", (64, 64)), ("student", (8,))):
        torch.manual_seed(0)
        network = models.build("dense", SHAPE, CLASSES, hidden=hidden)
        folder.model(id_).parent.mkdir(exist_ok=True)
        folder.checkpoint(id_).mkdir(parents=True)
        write_onnx(network, folder.model(id_))
        save_file(network.state_dict(), folder.checkpoint(id_) / "weights.safetensors")
        card(id_, hidden, inspect(folder.model(id_)).sha256).write(card_path(folder.model(id_)))
    return folder


def write_onnx(network: torch.nn.Module, path) -> None:
    """Write a dense network as torch's exporter, which takes seconds, would."""
    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)]
    nodes, last, stored = [helper.make_node("Flatten", ["input"], ["flat"])], "flat", []
    for number, layer in enumerate(layers):
        weight, bias, output = f"w{number}", f"b{number}", "logits" if layer is layers[-1] else f"z{number}"
        stored += [numpy_helper.from_array(layer.weight.detach().numpy(), weight)]
        stored += [numpy_helper.from_array(layer.bias.detach().numpy(), bias)]
        nodes.append(helper.make_node("Gemm", [last, weight, bias], [output], transB=1))
        if layer is not layers[-1]:
            nodes.append(helper.make_node("Relu", [output], [f"a{number}"]))
        last = f"a{number}"
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *SHAPE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])
    graph = helper.make_graph(nodes, "dense", [image], [logits], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def card(id_: str, hidden: tuple[int, ...], sha256: str) -> ModelCard:
    return ModelCard(
        id=id_,
        name=id_,
        role="teacher" if id_ == "teacher" else "student",
        architecture="dense",
        options={"hidden": list(hidden)},
        weights=f"checkpoints/{id_}/weights.safetensors",
        file=f"models/{id_}.onnx",
        sha256=sha256,
        input_shape=SHAPE,
        classes=CLASSES,
        parameters=1,
        preprocessing=Preprocessing(),
    )


@pytest.fixture
def bench_models(folder) -> list[BenchModel]:
    outcome = []
    for id_, hidden in (("teacher", (64, 64)), ("student", (8,))):
        path = folder.model(id_)
        card_ = card(id_, hidden, "")
        teacher = None if id_ == "teacher" else "teacher"
        outcome.append(BenchModel(card_, path, inspect(path), teacher, network=network_of(card_, path)))
    return outcome


def by(findings, metric: str) -> dict[tuple[str, str], object]:
    """Return the measurements of `metric` at batch 1 by (model, runtime)."""
    return {
        (m.model, str(m.axes.get("runtime", "onnxruntime"))): m
        for m in findings.measurements
        if m.metric == metric and m.axes.get("batch", 1) == 1
    }


def assert_latencies_of_samples(findings, model: str) -> None:
    """Assert that torch's latencies summarize the undisturbed ones of the raw samples kept beside them."""
    arrays = (findings.samples[f"{model}/cpu-t1-b1-torch/{name}"] for name in ("ns", "session", "block", "preempted"))
    samples, p50 = undisturbed(Clustered(*arrays)).values, by(findings, "latency_p50_ns")[model, "torch"]
    assert samples.min() > MIN_NS
    assert samples.min() <= p50.value <= samples.max()
    assert by(findings, "latency_mean_ns")[model, "torch"].value == pytest.approx(samples.mean())


def with_other_weights(student: BenchModel, folder) -> BenchModel:
    """Return the student's file under another id, with weights that are not the file's."""
    torch.manual_seed(1)
    save_file(models.build("dense", SHAPE, CLASSES, hidden=(8,)).state_dict(), folder / "others.safetensors")
    network = dataclasses.replace(student.network, weights=str(folder / "others.safetensors"))
    return dataclasses.replace(student, card=student.card.model_copy(update={"id": "other"}), network=network)


def test_both_runtimes_time_what_a_run_left_and_refuse_weights_that_are_not_the_files(
    bench_models, tmp_path, watcher, monkeypatch
):
    monkeypatch.setattr(admission, "unavailable", lambda *_: {})  # test_admission asks real processes
    real = runner.run_job
    shorten(monkeypatch)
    here = runner.run_job

    def run_job(job, *rest, **options):
        """Run the first session of each runtime in a process: torch takes seconds to load."""
        return (real if job.probe == "latency" and job.session == 0 else here)(job, *rest, **options)

    monkeypatch.setattr(runner, "run_job", run_job)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)  # this process is not the probes' alone
    other = with_other_weights(bench_models[1], tmp_path)
    findings = measure([*bench_models, other], TEST, QUICK, tmp_path / "work", watcher)
    p50 = by(findings, "latency_p50_ns")
    refused = p50.pop(("other", "torch"))
    assert refused.status == "error"
    assert "deviate from the file's" in refused.reason
    assert {key: m.status in {"ok", "unstable"} for key, m in p50.items()} == {
        **{(id_, name): True for id_ in ("teacher", "student") for name in ("onnxruntime", "torch")},
        ("other", "onnxruntime"): True,
    }
    assert p50["student", "torch"].source.startswith("torch")
    assert_latencies_of_samples(findings, "student")
    first = by(findings, "first_run_ns")["student", "torch"]
    assert (first.status, first.n) == ("ok", 1)
    assert first.value > MIN_NS
    assert {p.axes.get("runtime") for p in findings.pairs if p.metric == "latency_ratio"} == {None, "torch"}
    assert findings.protocol["runtimes"]["torch"]["version"] == torch.__version__


@pytest.mark.usefixtures("short_run")
def test_torch_has_numbers_where_onnxruntime_lacks_the_provider(bench_models, tmp_path, watcher, monkeypatch):
    """As on a GPU machine without onnxruntime-gpu; here torch's device is the CPU all the same."""
    absent = {"onnxruntime": Refusal("this onnxruntime has no CUDAExecutionProvider", "install onnxruntime-gpu")}
    monkeypatch.setattr(admission, "unavailable", lambda *_: absent)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)  # this process is not the probes' alone
    findings = measure(bench_models, TEST, QUICK, tmp_path, watcher)
    p50 = by(findings, "latency_p50_ns")
    assert_latencies_of_samples(findings, "student")
    assert (p50["student", "onnxruntime"].status, p50["student", "onnxruntime"].hint) == (
        "unavailable",
        "install onnxruntime-gpu",
    )
    assert by(findings, "load_ns")["teacher", "onnxruntime"].reason == absent["onnxruntime"].reason
    (top1,) = [m for m in findings.measurements if m.metric == "top1" and m.model == "student"]
    assert top1.value == pytest.approx(np.mean(findings.samples["student/correct"]))
    assert top1.source.startswith("onnxruntime cpu")
    ratios = {p.axes.get("runtime"): p for p in findings.pairs if p.metric == "latency_ratio" and p.axes["batch"] == 1}
    assert ratios[None].value is None
    assert ratios["torch"].interval.low <= ratios["torch"].value <= ratios["torch"].interval.high
    session, block = (findings.samples[f"student/cpu-t1-b1-torch/{name}"] for name in ("session", "block"))
    assert ratios["torch"].n == len(set(zip(session.tolist(), block.tolist(), strict=True)))  # rounds
