"""What is admitted to timing: by processes that are played here, and by real ones."""

import dataclasses
import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from kdbench import extras
from kdbench.errors import InputError, MeasurementError
from kdbench.measure import admission, runner
from kdbench.measure.admission import absent_runtimes, admit, require_runtimes, unavailable
from kdbench.measure.bench_model import UNKNOWN_NETWORK
from kdbench.measure.context import all_passes
from kdbench.measure.harness import with_missing
from kdbench.measure.passes.cold_start import OtherStartsPass
from kdbench.measure.predictions.predict import evaluation_provider
from kdbench.recipe.tables.measure import Measure
from kdbench.results.findings import Findings
from kdbench.worker.jobs import Network

BOTH = Measure(runtime=("onnxruntime", "torch"), batch=(8,))
LOGITS = np.arange(12.0).reshape(2, 6)


class Processes:
    """Measuring processes that answer as they are told to: `logits` and `errors` by (runtime, provider) or runtime."""

    def __init__(self) -> None:
        self.logits: dict[object, np.ndarray] = {}
        self.errors: dict[object, list[str]] = {}
        self.dead: set[str] = set()
        self.kernels: dict[str, int] = {}
        self.properties: dict[str, float] = {}
        self.calls: list[tuple[str, str, str]] = []

    def __call__(self, job, folder, progress, *, threads):
        name, provider = job.runtime, job.provider
        (model,) = job.models
        self.calls.append((name, provider, model.id))
        if name in self.dead:
            raise MeasurementError("the admission process was ended by signal 11", "try another version")
        errors = self.errors.get((name, provider), self.errors.get((name, model.id)))
        if errors is None:
            np.save(job.files[0], self.logits.get(name, LOGITS))
        result = {
            "facts": {"version": "1"},
            "load_ns": {model.id: 5},
            "first_run_ns": {model.id: 7},
            "kernels": {model.id: self.kernels} if self.kernels else {},
            "properties": {model.id: self.properties} if name != "onnxruntime" else {},
            "errors": {model.id: errors} if errors else {},
        }
        return json.loads(json.dumps(result))


@pytest.fixture
def processes(monkeypatch) -> Processes:
    played = Processes()
    monkeypatch.setattr(runner, "run_job", played)
    return played


def refused_findings(context):
    """Return what is missing because a runtime refuses a model."""
    findings = Findings()
    for name, a_pass in all_passes().items():
        if name not in {"accuracy", "costs"}:
            findings += with_missing(context.models, a_pass.expected(context), Findings())[1]
    return findings


@pytest.fixture
def bench_models(tiny, bench_model):
    """A teacher and its student, both with a network."""
    made = [bench_model(tiny("t")), bench_model(tiny("s", seed=1), teacher="t")]
    return [dataclasses.replace(model, network=Network("somewhere:build")) for model in made]


@pytest.fixture
def admitted(test_set, context):
    def ask(models, config):
        made = context(models, test_set, config=config)
        return admit(made, unavailable(config, ("onnxruntime", *config.runtime[1:]), made.folder))

    return ask


def refusals(outcome) -> dict[str, list[str]]:
    return {s.id: list(s.refused) for s in outcome.models}


def test_onnxruntime_on_the_cpu_is_taken_for_granted(bench_models, admitted, processes):
    assert refusals(admitted(bench_models, Measure())) == {"t": [], "s": []}
    assert processes.calls == []


def test_a_runtime_that_says_the_same_is_admitted(bench_models, admitted, processes):
    outcome = admitted(bench_models, BOTH)
    assert refusals(outcome) == {"t": [], "s": []}
    assert {key: run.max_abs for key, run in outcome.starts.items()} == {("torch", "t"): 0.0, ("torch", "s"): 0.0}
    assert outcome.runtime_facts == {"torch": {"version": "1"}}
    assert ("onnxruntime", "cpu", "t") in processes.calls


@pytest.mark.parametrize("off", [0.02, np.nan, np.inf])
def test_a_runtime_that_says_something_else_is_refused(bench_models, admitted, processes, off):
    processes.logits["torch"] = LOGITS + off  # the tolerance is a thousandth of the largest logit, 11
    outcome = admitted(bench_models, BOTH)
    assert refusals(outcome) == {"t": ["torch"], "s": ["torch"]}
    assert "deviate" in outcome.models[0].refused["torch"].reason


def test_classes_of_probability_zero_do_not_differ(bench_models, admitted, processes):
    for name, off in (("onnxruntime", 0.0), ("torch", 0.01)):
        processes.logits[name] = np.array(LOGITS) + off
        processes.logits[name][..., 0] = -np.inf
    outcome = admitted(bench_models, BOTH)
    assert refusals(outcome) == {"t": [], "s": []}
    assert max(run.max_abs for run in outcome.starts.values()) == pytest.approx(0.01, rel=1e-3)


def test_rounding_is_admitted(bench_models, admitted, processes):
    processes.logits["torch"] = LOGITS + 0.01
    assert refusals(admitted(bench_models, BOTH)) == {"t": [], "s": []}


def test_a_file_of_others_is_refused_by_torch_alone(bench_models, admitted, processes):
    teacher, student = bench_models
    outcome = admitted([teacher, dataclasses.replace(student, network=UNKNOWN_NETWORK)], BOTH)
    assert refusals(outcome) == {"t": [], "s": ["torch"]}


def test_a_file_of_others_is_tried_in_a_runtime_that_runs_files(bench_models, admitted, processes):
    foreign = [dataclasses.replace(model, network=UNKNOWN_NETWORK) for model in bench_models]
    config = Measure(runtime=("onnxruntime", "openvino"))
    assert refusals(admitted(foreign, config)) == {"t": [], "s": []}
    processes.logits["openvino"] = LOGITS + 0.02
    (refusal,) = admitted(foreign, config).models[0].refused.values()
    assert "try another version" in str(refusal.hint)


@pytest.mark.parametrize(("step", "off", "refused"), [(None, 0.02, True), (0.25, 1.9, False), (0.25, 2.1, True)])
def test_integers_may_move_an_output_by_some_of_its_steps(
    bench_models, admitted, processes, monkeypatch, step, off, refused
):
    monkeypatch.setattr(admission, "output_step", lambda *_: step)
    processes.logits["openvino"] = LOGITS + off
    processes.logits["torch"] = LOGITS + off  # the network computes no integers
    outcome = admitted(bench_models, Measure(runtime=("onnxruntime", "openvino", "torch")))
    assert refusals(outcome) == {id_: [*(["openvino"] if refused else []), "torch"] for id_ in ("t", "s")}


def test_the_hint_for_a_converted_file_is_about_that_file(bench_models, admitted, processes):
    for model in bench_models:
        model.path.with_suffix(".tflite").touch()
    processes.logits["litert"] = LOGITS + 0.02
    (refusal,) = admitted(bench_models, Measure(runtime=("onnxruntime", "litert"))).models[0].refused.values()
    assert "tf2onnx" in str(refusal.hint)


@pytest.mark.parametrize(
    ("said", "of_file", "off", "refused"),
    [
        ({"output_step": 0.25}, 0.0, 1.9, False),
        ({"output_step": 0.0}, 0.25, 1.9, False),
        ({"output_step": 0.0}, 0.25, 2.1, True),
        ({"output_step": 0.0}, 0.0, 0.02, True),
        ({}, 0.25, 0.02, True),  # LiteRT measures the model's latency: the file has to be the model
    ],
)
def test_a_converted_file_of_integers_differs_by_its_steps(
    bench_models, admitted, processes, monkeypatch, said, of_file, off, refused
):
    for model in bench_models:
        model.path.with_suffix(".tflite").touch()
    name = "tflite-micro" if said else "litert"
    processes.properties, processes.logits[name] = said, LOGITS + off
    monkeypatch.setattr(admission, "tflite_step", lambda _: of_file)
    outcome = admitted(bench_models, Measure(runtime=("onnxruntime", name)))
    assert refusals(outcome) == {id_: [name] if refused else [] for id_ in ("t", "s")}


@pytest.mark.parametrize(("off", "refused"), [(8, False), (9, True)])
def test_outputs_in_integers_differ_by_their_steps(tiny, bench_model, admitted, processes, monkeypatch, off, refused):
    model = bench_model(tiny("m"))
    output = dataclasses.replace(model.facts.output, quantization=(0.125, -14))
    model = dataclasses.replace(model, facts=dataclasses.replace(model.facts, output=output))
    monkeypatch.setattr(admission, "output_step", lambda *_: 0.125)
    processes.logits["onnxruntime"] = LOGITS.astype(np.int8)
    processes.logits["openvino"] = (LOGITS + off).astype(np.int8)
    outcome = admitted([model], Measure(runtime=("onnxruntime", "openvino")))
    assert refusals(outcome) == {"m": ["openvino"] if refused else []}
    if not refused:
        assert outcome.starts["openvino", "m"].max_abs == 8 * 0.125


def test_kernels_are_among_a_runtimes_facts(bench_models, admitted, processes):
    processes.kernels = {"f32": 3}
    facts = admitted(bench_models, Measure(runtime=("onnxruntime", "openvino"))).runtime_facts
    assert facts == {"openvino": {"version": "1", "kernels": {"t": {"f32": 3}, "s": {"f32": 3}}}}


def test_a_runtime_that_is_not_installed_is_a_users_mistake(processes, watcher, monkeypatch):
    monkeypatch.setattr(extras, "missing", lambda extra: [extra] if extra == "openvino" else [])
    with pytest.raises(InputError, match="openvino") as caught:
        require_runtimes(Measure(runtime=("onnxruntime", "openvino")), watcher)
    assert extras.install("openvino") in caught.value.hint
    assert processes.calls == []


def test_a_process_that_dies_costs_its_runtime_and_no_other(bench_models, admitted, processes):
    processes.dead = {"torch"}
    outcome = admitted(bench_models, BOTH)
    assert refusals(outcome) == {"t": ["torch"], "s": ["torch"]}


def test_what_cannot_be_compared_is_not_admitted(bench_models, admitted, processes):
    processes.errors["onnxruntime", "s"] = ["unknown operator", ""]
    outcome = admitted(bench_models, BOTH)
    assert refusals(outcome) == {"t": [], "s": ["torch"]}
    assert "unknown operator" in outcome.models[1].refused["torch"].reason


def test_without_onnxruntimes_provider_accuracy_is_measured_on_the_cpu(bench_models, admitted, processes, context):
    config = BOTH.model_copy(update={"provider": "cuda"})
    processes.errors["onnxruntime", "cuda"] = ["this onnxruntime has no CUDA", "install it"]
    outcome = admitted(bench_models, config)
    assert refusals(outcome) == {"t": ["onnxruntime"], "s": ["onnxruntime"]}
    assert evaluation_provider(outcome) == "cpu"
    assert ("torch", "cuda", "t") in processes.calls  # and is compared with the CPU's logits
    assert evaluation_provider(context(bench_models, config=config)) == "cuda"


def test_what_is_refused_is_in_the_record_with_its_reason(bench_models, admitted, processes):
    config = BOTH.model_copy(update={"provider": "cuda", "mode": ("stream", "server"), "rate_per_s": 9})
    processes.errors["onnxruntime", "cuda"] = ["this onnxruntime has no CUDA", "install it"]
    findings = refused_findings(admitted(bench_models, config)) + OtherStartsPass().run(admitted(bench_models, config))
    missing = {(m.model, m.metric, m.axes.get("batch"), m.axes.get("mode")): m for m in findings.measurements}
    lost = missing["s", "latency_p50_ns", 1, None]
    assert (lost.status, lost.reason, lost.hint) == ("unavailable", "this onnxruntime has no CUDA", "install it")
    assert ("s", "throughput_per_s", 8, None) in missing
    assert ("s", "latency_p99_ns", 1, "server") in missing
    assert ("s", "throughput_per_s", 1, "server") not in missing
    assert missing["t", "energy_j", 1, None].status == "unavailable"
    starts = [m for m in findings.measurements if m.axes.get("runtime") == "torch"]
    assert {(m.model, m.metric, m.value) for m in starts} == {
        (id_, metric, value) for id_ in ("t", "s") for metric, value in (("load_ns", 5.0), ("first_run_ns", 7.0))
    }
    ratios = [p for p in findings.pairs if p.metric == "latency_ratio"]
    assert {(p.axes["batch"], p.status, p.reason) for p in ratios} == {
        (batch, "unavailable", "s was not measured: this onnxruntime has no CUDA") for batch in (1, 8)
    }


def test_a_fault_is_an_error_and_no_mere_absence(bench_models, admitted, processes):
    processes.logits["torch"] = LOGITS + 1
    findings = refused_findings(admitted(bench_models, BOTH))
    assert {m.status for m in findings.measurements} == {"error"}
    assert {m.axes["runtime"] for m in findings.measurements} == {"torch"}


def test_one_runtime_that_can_is_enough(processes):
    processes.errors["onnxruntime", "cuda"] = ["this onnxruntime has no CUDA", "install it"]
    outcome = absent_runtimes(Measure(provider="cuda", runtime=("onnxruntime", "torch")))
    assert list(outcome) == ["onnxruntime"]
    assert list(absent_runtimes(Measure(provider="cuda", runtime=("torch",)))) == ["onnxruntime"]
    with pytest.raises(InputError, match="has no CUDA") as caught:
        absent_runtimes(Measure(provider="cuda"))
    assert caught.value.hint == "install it"


def test_no_runtime_that_can_is_a_users_mistake(processes):
    processes.errors["onnxruntime", "cuda"] = ["this onnxruntime has no CUDA", "install it"]
    processes.errors["torch", "cuda"] = ["PyTorch sees no GPU", "buy one"]
    with pytest.raises(InputError, match=r"onnxruntime: this .* CUDA; torch: PyTorch sees no GPU"):
        absent_runtimes(Measure(provider="cuda", runtime=("onnxruntime", "torch")))


def test_processes_that_find_out_wait_for_another_measurement(processes, watcher, monkeypatch):
    held = []

    @contextmanager
    def alone(progress):
        held.append(progress)
        yield

    monkeypatch.setattr(admission, "machine_lock", alone)
    require_runtimes(Measure(), watcher)  # nothing to find out
    assert held == []
    require_runtimes(Measure(runtime=("torch",)), watcher)
    assert held == [watcher]


@pytest.mark.slow
def test_real_processes_say_what_they_can(tmp_path: Path):
    assert unavailable(Measure(runtime=("onnxruntime", "torch")), ("onnxruntime", "torch"), tmp_path) == {}


@pytest.mark.slow
def test_a_real_process_runs_a_file_in_openvino(tmp_path: Path):
    pytest.importorskip("openvino", reason="openvino is not installed")
    assert unavailable(Measure(), ("openvino",), tmp_path) == {}
    (refusal,) = unavailable(Measure(provider="cuda"), ("openvino",), tmp_path).values()
    assert (refusal.reason, refusal.hint) == (
        "kdbench runs openvino on the CPU, not on cuda",
        "measure with --provider=cpu",
    )


def test_a_real_process_says_that_there_is_no_cuda(tmp_path: Path):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has a CUDA provider")
    (refusal,) = unavailable(Measure(provider="cuda"), ("onnxruntime",), tmp_path).values()
    assert "no CUDAExecutionProvider" in refusal.reason
    assert "onnxruntime-gpu" in str(refusal.hint)
