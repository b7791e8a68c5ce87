"""What is said of a model that failed the parity gate, and of its student."""

import numpy as np
import pytest

from kdbench.evaluate.fidelity import FIDELITIES
from kdbench.evaluate.findings import MISMATCHES, NOISE, RISKS
from kdbench.measure.harness import Analyses, TrainingImages
from kdbench.modelfile.facts import ModelFacts
from kdbench.recipe.measure import Measure
from kdbench.results.cards import ModelCard
from kdbench.results.metrics import METRICS, PAIR_METRICS
from kdbench.results.records import missing
from kdbench.workflows.stages.export import Exported
from kdbench.workflows.stages.refusing import refused_measurements, refused_pairs

WHY = "the ONNX file strays from the network by 9"
FACTS = ModelFacts("0", 9, 8, 2, 17, "x", "float32", (None, 1, 4, 4), "NCHW", None, "y", (None, 5), 5)
EVERYTHING = Measure(
    threads=(1, 2),
    batch=(8,),
    mode=("stream", "paced", "server", "offline"),
    rate_per_s=9,
    runtime=("onnxruntime", "torch"),
)


def exported(id_: str, teacher: str | None = None, refused: str | None = None, *, finite: bool = True) -> Exported:
    card = ModelCard(
        id=id_,
        name=id_,
        role="student" if teacher else "teacher",
        parents=(teacher,) if teacher else (),
        file=f"models/{id_}.onnx",
        sha256="0",
        input_shape=(1, 4, 4),
        classes=5,
        parameters=2,
    )
    parity = missing(id_, "parity_max_abs", "unknown")
    return Exported(None, card, FACTS, parity, refused, finite)  # type: ignore[arg-type]  # how it was trained is no matter


def axes_of(findings, metric):
    return [{k: v for k, v in m.axes.items() if k != "provider"} for m in findings if m.metric == metric]


def test_every_metric_is_there_with_the_reason():
    found = list(refused_measurements([exported("t", refused=WHY)], Measure()))
    of_others = {*FIDELITIES, *RISKS, *NOISE, *MISMATCHES, "device_memory_bytes", "max_throughput_per_s"}
    of_training = {"parity_max_abs", "training_s", "training_j", "training_co2_g"}
    assert {m.metric for m in found} == METRICS.keys() - of_others - of_training - {"co2_g"}
    assert {(m.status, m.reason) for m in found} == {("unavailable", WHY)}


def analyses(*, flipped=False, drawn=True):
    labels = np.arange(2)
    images = TrainingImages(np.zeros((2, 1, 4, 4), np.uint8), labels + flipped, labels, np.full(2, drawn))
    return Analyses(training=dict.fromkeys(("t", "alone", "s"), images), independent={"s": "alone"})


def test_what_is_said_of_training_images_is_missing_there_too():
    exports = [exported("t"), exported("alone", "t"), exported("s", "t", refused=WHY)]
    found = list(refused_measurements(exports, Measure(), analyses()))
    for metric in ("top1", "loss", "ece", "agreement", "logit_spearman"):
        assert axes_of(found, metric) == [{}, {"part": "train"}], metric
    assert axes_of(found, "mismatches") == [{"beside": "alone"}, {"part": "train", "beside": "alone"}]
    assert axes_of(found, "class_top1") == axes_of(found, "distilled_risk_variance") == [{}]
    assert not axes_of(found, "noise_corrected")
    none = list(refused_measurements(exports, Measure(), analyses(drawn=False)))
    assert axes_of(none, "top1") == [{}]


def test_wrong_labels_are_followed_only_where_there_are_some():
    exports = [exported("t"), exported("s", "t", refused=WHY)]
    found = list(refused_measurements(exports, Measure(), analyses(flipped=True)))
    assert axes_of(found, "noise_corrected") == axes_of(found, "noise_memorised") == [{}]


@pytest.mark.parametrize("refused", ["t", "alone"])
def test_a_student_without_its_teacher_or_its_independent_one_has_no_mismatches(refused):
    exports = [
        exported(id_, of, WHY if id_ == refused else None) for id_, of in (("t", None), ("alone", "t"), ("s", "t"))
    ]
    found = [m for m in refused_measurements(exports, Measure(), analyses()) if m.model == "s"]
    assert {m.metric for m in found} >= set(MISMATCHES)
    assert all(m.reason.endswith(f"was not measured: {WHY}") for m in found)
    assert ("agreement" in {m.metric for m in found}) == (refused == "t")


def test_energy_is_missing_where_it_would_have_been_taken():
    found = list(refused_measurements([exported("t", refused=WHY)], Measure(batch=(4, 8), country="DEU")))
    for metric in ("energy_j", "energy_net_j", "energy_run_j", "co2_g"):
        assert axes_of(found, metric) == [{"threads": 1, "batch": 1}, {"threads": 1, "batch": 8}]


def test_logits_that_are_no_numbers_are_invalid():
    found = refused_measurements([exported("t", refused=WHY, finite=False)], Measure())
    assert {m.status for m in found} == {"invalid"}


def test_a_model_that_passed_lacks_only_what_its_refused_teacher_would_have_said():
    found = list(refused_measurements([exported("t", refused=WHY), exported("s", "t")], Measure()))
    assert {m.metric for m in found if m.model == "s"} == {*FIDELITIES, *RISKS}
    assert all(WHY in m.reason for m in found if m.model == "s")


def test_times_are_missing_wherever_they_would_have_been_taken():
    found = list(refused_measurements([exported("t", refused=WHY)], EVERYTHING))
    p50 = axes_of(found, "latency_p50_ns")
    single = [{"threads": 1, "batch": 1}, {"threads": 2, "batch": 1}]
    stream = [*single[:1], {"threads": 1, "batch": 8}, *single[1:]]
    one_runtime = [
        *stream,
        *({**at, "mode": "paced", "gap_ms": 5} for at in single),
        *({**at, "mode": "server", "rate_per_s": 9} for at in single),
    ]
    in_torch = [{**at, "runtime": "torch"} for at in one_runtime]
    assert p50 == [*one_runtime, *in_torch]
    assert axes_of(found, "throughput_per_s") == [*stream, *({**at, "runtime": "torch"} for at in stream)]
    assert axes_of(found, "max_throughput_per_s") == [{"threads": n, "mode": "offline"} for n in (1, 2)]


def test_a_runtime_that_was_not_asked_for_is_not_missing():
    found = refused_measurements([exported("t", refused=WHY)], Measure(runtime=("torch",)))
    assert {at["runtime"] for at in axes_of(found, "latency_p50_ns")} == {"torch"}


@pytest.mark.parametrize("refused", ["t", "s"])
def test_a_pair_of_which_one_was_refused_has_the_reason(refused):
    both = [exported("t", refused=WHY if refused == "t" else None), exported("s", "t", WHY if refused == "s" else None)]
    found = list(refused_pairs(both, EVERYTHING))
    assert {p.metric for p in found} == PAIR_METRICS.keys()
    assert {(p.teacher, p.student, p.reason) for p in found} == {("t", "s", WHY)}
    ratios = axes_of(found, "latency_ratio")
    assert {"threads": 1, "batch": 1, "mode": "paced", "gap_ms": 5} in ratios
    assert not [at for at in ratios if at.get("mode") == "server"]  # such a pair is never taken
