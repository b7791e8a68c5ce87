"""Numbers of refused and failed models: each is there, at its axes, with the reason."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kdbench.evaluate.accuracy import NOISE
from kdbench.evaluate.fidelity import FIDELITIES, MISMATCHES, RISKS
from kdbench.evaluate.flips import FLIPS
from kdbench.evaluate.gains import GAINS
from kdbench.evaluate.predictions import Analyses, TrainingImages
from kdbench.measure.bench_model import BenchModel, Refusal, TestSet
from kdbench.measure.context import Context, Expected, all_passes, expected_pair
from kdbench.measure.harness import measure, with_missing
from kdbench.meters.choice import Choice
from kdbench.meters.meter import Available, MeterStatus
from kdbench.meters.rapl import Rapl
from kdbench.modelfile.facts import ModelFacts
from kdbench.modelfile.graphs.outputs import Output
from kdbench.recipe.tables.measure import Measure
from kdbench.results.cards import ModelCard
from kdbench.results.findings import Failure, Findings
from kdbench.results.metrics import METRICS, PAIR_METRICS, metrics_in
from kdbench.results.records import measured

WHY = "the ONNX file strays from the network by 9"
OUTPUT = Output("y", (None, 5))
FACTS = ModelFacts("0", 9, 8, 2, 17, "x", "float32", (None, 1, 4, 4), "NCHW", None, (OUTPUT,), OUTPUT)
LABELS = np.arange(2)
OF_FILES = {"compressed_bytes", "deployed_bytes", "arena_bytes"}  # of variants, and of .tflite files
TEST = TestSet(np.zeros((2, 1, 4, 4), np.uint8), LABELS)
METER = Choice(MeterStatus(Rapl(), Available("1 package")))
EVERYTHING = Measure(
    threads=(1, 2),
    batch=(8,),
    mode=("stream", "paced", "server", "offline"),
    rate_per_s=9,
    runtime=("onnxruntime", "torch"),
)


def model(id_: str, teacher: str | None = None, refused: str | None = None, status: str = "unavailable") -> BenchModel:
    card = ModelCard(
        id=id_,
        name=id_,
        role="student" if teacher else "teacher",
        file=f"models/{id_}.onnx",
        sha256="0",
        input_shape=(1, 4, 4),
        classes=5,
        parameters=2,
    )
    refusal = Refusal(refused, status=status) if refused else None
    return BenchModel(card, Path(card.file), FACTS, teacher, refusal=refusal)


def refused(models, config=None, analyses=None):
    """Return what all passes would have measured of refused models."""
    context = Context(models, config or Measure(), TEST, analyses or Analyses(), METER)
    findings = Findings()
    for a_pass in all_passes().values():
        findings += with_missing(models, a_pass.expected(context), Findings())[1]
    return findings


def axes_of(findings, metric):
    of_metric = (m for m in (*findings.measurements, *findings.pairs) if m.metric == metric)
    return [{k: v for k, v in m.axes.items() if k != "provider"} for m in of_metric]


def test_every_metric_is_there_with_the_reason():
    measurements = refused([model("t", refused=WHY)]).measurements
    of_others = {*FIDELITIES, *RISKS, *NOISE, *MISMATCHES, *GAINS, "device_memory_bytes", "max_throughput_per_s"}
    of_training = {"parity_max_abs", "training_s", "training_j", "training_co2_g"}
    of_regressions = metrics_in("errors", "target errors", "teacher errors", "closed form")
    classifiers = METRICS.keys() - of_regressions - {"co2_g"}
    of_variants_and_devices = {*metrics_in("kernels", "device", "runtimes", "relative"), *OF_FILES}
    assert {m.metric for m in measurements} == classifiers - of_others - of_training - of_variants_and_devices
    assert {(m.status, m.reason) for m in measurements} == {("unavailable", WHY)}


def analyses(*, flipped=False, drawn=True):
    images = TrainingImages(TEST.inputs, LABELS + flipped, LABELS, np.full(2, drawn))
    training = dict.fromkeys(("t", "alone", "s"), images)
    return Analyses(training=training, independent={"s": "alone"}, baselines={"s": ("alone",)})


def test_what_training_images_tell_is_missing_there_too():
    models = [model("t"), model("alone", "t"), model("s", "t", refused=WHY)]
    findings = refused(models, analyses=analyses())
    for metric in ("top1", "loss", "ece", "agreement", "logit_spearman"):
        assert axes_of(findings, metric) == [{}, {"part": "train"}], metric
    assert axes_of(findings, "mismatches") == [{"beside": "alone"}, {"part": "train", "beside": "alone"}]
    assert axes_of(findings, "top1_gain") == [{"beside": "alone"}], "on the test set alone"
    assert axes_of(findings, "class_top1") == axes_of(findings, "distilled_risk_variance") == [{}]
    assert not axes_of(findings, "noise_corrected")
    assert axes_of(refused(models, analyses=analyses(drawn=False)), "top1") == [{}]


def test_wrong_labels_are_followed_only_where_there_are_some():
    findings = refused([model("t"), model("s", "t", refused=WHY)], analyses=analyses(flipped=True))
    assert axes_of(findings, "noise_corrected") == axes_of(findings, "noise_memorised") == [{}]


@pytest.mark.parametrize("lost", ["t", "alone"])
def test_a_student_without_its_teacher_or_its_independent_one_has_no_mismatches(lost):
    models = [
        model(id_, teacher, WHY if id_ == lost else None) for id_, teacher in (("t", None), ("alone", "t"), ("s", "t"))
    ]
    measurements = [m for m in refused(models, analyses=analyses()).measurements if m.model == "s"]
    assert {m.metric for m in measurements} >= set(MISMATCHES)
    assert {(m.status, m.reason) for m in measurements} == {("unavailable", f"{lost} was not measured: {WHY}")}
    assert ("agreement" in {m.metric for m in measurements}) == (lost == "t")


def test_energy_is_missing_where_it_would_have_been_measured():
    findings = refused([model("t", refused=WHY)], Measure(batch=(4, 8), country="DEU"))
    for metric in ("energy_j", "energy_net_j", "energy_run_j", "co2_g"):
        assert axes_of(findings, metric) == [{"threads": 1, "batch": 1}, {"threads": 1, "batch": 8}]


def test_logits_that_are_no_numbers_are_invalid():
    measurements = refused([model("t", refused=WHY, status="invalid")]).measurements
    assert {m.status for m in measurements} == {"invalid"}


def test_a_model_that_passed_lacks_only_what_depends_on_its_refused_teacher():
    measurements = refused([model("t", refused=WHY), model("s", "t")]).measurements
    assert {m.metric for m in measurements if m.model == "s"} == {*FIDELITIES, *RISKS}
    assert all(WHY in m.reason for m in measurements if m.model == "s")


def test_times_are_missing_wherever_they_would_have_been_measured():
    findings = refused([model("t", refused=WHY)], EVERYTHING)
    single = [{"threads": 1, "batch": 1}, {"threads": 2, "batch": 1}]
    stream = [*single[:1], {"threads": 1, "batch": 8}, *single[1:]]
    one_runtime = [
        *stream,
        *({**at, "mode": "paced", "gap_ms": 5} for at in single),
        *({**at, "mode": "server", "rate_per_s": 9} for at in single),
    ]
    in_torch = [{**at, "runtime": "torch"} for at in one_runtime]
    assert axes_of(findings, "latency_p50_ns") == [*one_runtime, *in_torch]
    assert axes_of(findings, "throughput_per_s") == [*stream, *({**at, "runtime": "torch"} for at in stream)]
    assert axes_of(findings, "max_throughput_per_s") == [{"threads": n, "mode": "offline"} for n in (1, 2)]
    assert axes_of(findings, "load_ns") == [single[0], {**single[0], "runtime": "torch"}]


def test_a_runtime_that_was_not_asked_for_is_not_missing():
    findings = refused([model("t", refused=WHY)], Measure(runtime=("torch",)))
    assert {axes["runtime"] for axes in axes_of(findings, "latency_p50_ns")} == {"torch"}


@pytest.mark.parametrize("lost", ["t", "s"])
def test_a_pair_of_which_one_was_refused_has_the_reason(lost):
    both = [model("t", refused=WHY if lost == "t" else None), model("s", "t", WHY if lost == "s" else None)]
    findings = refused(both, EVERYTHING)
    assert {p.metric for p in findings.pairs} == PAIR_METRICS.keys() - {"rmse_ratio"}
    assert {(p.teacher, p.student, p.status, p.reason) for p in findings.pairs} == {
        ("t", "s", "unavailable", f"{lost} was not measured: {WHY}")
    }
    ratios = axes_of(findings, "latency_ratio")
    assert {"threads": 1, "batch": 1, "mode": "paced", "gap_ms": 5} in ratios
    assert not [axes for axes in ratios if axes.get("mode") == "server"]  # such a pair is never measured


MODELS = [model("t"), model("s", "t")]


def test_a_failure_explains_what_it_covers_and_the_most_particular_one_counts():
    expected = [Expected(id_, "load_ns", {"batch": batch}) for batch in (1, 8) for id_ in "ts"]
    present = [measured("s", "load_ns", 5, axes={"batch": batch}) for batch in (1, 8)]
    failures = (Failure("t", "in general"), Failure("t", "at batch 8", axes={"batch": 8}))
    findings, refused_before = with_missing(MODELS, expected, Findings(tuple(present), failures=failures))
    assert refused_before == Findings()
    assert [(m.model, m.axes["batch"], m.status, m.reason) for m in findings.measurements] == [
        ("s", 1, "ok", None),
        ("t", 1, "error", "in general"),
        ("s", 8, "ok", None),
        ("t", 8, "error", "at batch 8"),
    ]


@pytest.mark.parametrize(("lost", "status"), [("t", "unavailable"), ("s", "error")])
def test_a_pair_names_the_model_that_failed(lost, status):
    expected = [expected_pair(*MODELS, "latency_ratio")]
    findings, _ = with_missing(MODELS, expected, Findings(failures=(Failure(lost, "it crashed"),)))
    assert [(p.status, p.reason) for p in findings.pairs] == [(status, f"{lost} failed: it crashed")]


@pytest.mark.usefixtures("short_run")
def test_different_classes_leave_no_fidelity_but_a_drop(tiny, bench_model, run_pass, test_set):
    from kdbench.measure.passes.accuracy import AccuracyPass

    models = [bench_model(tiny("t")), bench_model(tiny("s", classes=9), teacher="t")]
    findings = run_pass(AccuracyPass(), models, TestSet(test_set.inputs, test_set.labels))
    fidelities = [m for m in findings.measurements if m.metric in FIDELITIES]
    assert {m.status for m in fidelities} == {"unavailable"}
    assert len(fidelities) == len(FIDELITIES)
    assert "6 and 9 classes" in fidelities[0].reason
    teacher, student = (
        next(m.value for m in findings.measurements if (m.model, m.metric) == (id_, "top1")) for id_ in "ts"
    )
    assert findings.pairs[0].metric == "top1_drop"
    assert findings.pairs[0].value == pytest.approx(100 * (teacher - student))


@pytest.mark.usefixtures("short_run")
def test_a_refused_model_goes_through_the_harness_untouched(tiny, bench_model, test_set, tmp_path, watcher):
    """Its file is never opened; the student of it is measured alone."""
    gone = replace(bench_model(tiny("t")), path=tmp_path / "gone.onnx", refusal=Refusal(WHY))
    student = bench_model(tiny("s", seed=1), teacher="t")
    config = Measure(budget_s=0.2, sessions=2, batch=(4,), energy="off")
    findings = measure([gone, student], test_set, config, tmp_path / "work", watcher)
    assert {m.reason for m in findings.measurements if m.model == "t" and m.metric.startswith("latency")} == {WHY}
    known = {m.metric for m in findings.measurements if m.model == "s" and m.value is not None}
    assert known >= {"top1", "latency_p50_ns", "load_ns", "peak_memory_bytes", "macs"}
    assert {p.reason for p in findings.pairs} == {f"t was not measured: {WHY}"}
    assert {p.metric for p in findings.pairs} == {
        "top1_drop",
        *FLIPS,
        "size_ratio",
        "macs_ratio",
        "memory_ratio",
        "latency_ratio",
    }
