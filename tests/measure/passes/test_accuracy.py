"""Test set and training images through the probes of measuring processes; test_predict.py has real processes."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax

from kdbench.evaluate.class_map import ClassMap
from kdbench.evaluate.predictions import Analyses, TrainingImages
from kdbench.measure.passes import accuracy
from kdbench.measure.passes.accuracy import AccuracyPass
from kdbench.measure.predictions import predict as prediction

pytestmark = pytest.mark.usefixtures("short_run")

NAMES = ("ant", "bee", "cat", "dog", "emu", "fox")


@pytest.fixture
def training(by_hand):
    """Eighty images, labelled by the classifier of seed 0; every tenth label is changed, the first sixty are drawn."""
    images = np.random.default_rng(8).integers(0, 256, (80, 2, 3, 4), dtype=np.uint8)
    true = by_hand(images).argmax(axis=1)
    labels = np.where(np.arange(80) % 10 == 0, (true + 1) % 6, true)
    return TrainingImages(images, labels, true, np.arange(80) < 60)


@pytest.fixture
def three(tiny, bench_model):
    """A teacher and two students of one seed less alike than the other."""
    return [
        bench_model(tiny("t")),
        bench_model(tiny("alone", seed=1), teacher="t"),
        bench_model(tiny("kd", bias=0.5), teacher="t"),
    ]


@pytest.fixture
def evaluated(run_pass):
    def run(models, test, analyses=None):
        findings = run_pass(AccuracyPass(), models, test, analyses)
        return {(m.model, m.metric, *m.axes.values()): m for m in findings.measurements}, findings

    return run


def test_classes_go_by_their_names_and_by_number_without(evaluated, three, test_set):
    named, _ = evaluated(three[:1], test_set, Analyses(class_names=NAMES))
    numbered, _ = evaluated(three[:1], test_set)
    seen = sorted(set(test_set.labels.tolist()))
    assert [key[2] for key in named if key[1] == "class_top1"] == [NAMES[label] for label in seen]
    assert [key[2] for key in numbered if key[1] == "class_top1"] == seen
    shares = [m for key, m in named.items() if key[1] == "class_top1"]
    assert sum(m.value * m.n for m in shares) == pytest.approx(50 * named["t", "top1"].value)


def test_a_student_is_compared_with_a_teacher_whose_outputs_are_in_another_order(evaluated, three, test_set, by_hand):
    """As a ready teacher of a recipe, whose outputs are mapped by name, and students, whose outputs are the classes."""
    order = (2, 0, 5, 1, 4, 3)
    mapped = replace(three[0], class_map=ClassMap(order))
    results, findings = evaluated([mapped, *three[1:]], test_set)
    teacher, student = by_hand(test_set.inputs)[:, order], by_hand(test_set.inputs, seed=1)
    log_t, log_s = (log_softmax(logits.astype(np.float64), axis=1) for logits in (teacher, student))
    agreement, kl = results["alone", "agreement"].value, results["alone", "predictive_kl"].value
    assert agreement == pytest.approx((teacher.argmax(axis=1) == student.argmax(axis=1)).mean())
    assert kl == pytest.approx((np.exp(log_t) * (log_t - log_s)).sum(axis=1).mean(), rel=1e-4)
    assert not findings.failures


def test_which_images_were_right_is_kept(evaluated, three, test_set, by_hand):
    results, findings = evaluated(three, test_set)
    right = by_hand(test_set.inputs).argmax(axis=1) == test_set.labels
    assert findings.samples["t/correct"].dtype == bool
    assert findings.samples["t/correct"].tolist() == right.tolist()
    assert {name: float(findings.samples[f"{name}/correct"].mean()) for name in ("t", "alone", "kd")} == {
        name: results[name, "top1"].value for name in ("t", "alone", "kd")
    }
    assert findings.protocol["test_set_sha256"] == test_set.sha256()


def test_a_test_sets_hash_depends_on_images_labels_and_order(test_set):
    images, labels = test_set.inputs, test_set.labels
    others = [
        replace(test_set, inputs=images[::-1]),
        replace(test_set, labels=labels[::-1]),
        replace(test_set, inputs=images.reshape(*images.shape[:2], -1, 1)),
        replace(test_set, inputs=images[1:], labels=labels[1:]),
    ]
    assert len({test_set.sha256(), *(other.sha256() for other in others)}) == 5
    assert replace(test_set, inputs=images.copy()).sha256() == test_set.sha256()


def test_training_images_have_axes_that_the_test_set_has_not(evaluated, three, test_set, training):
    analyses = Analyses(training=dict.fromkeys(("t", "alone", "kd"), training))
    results, findings = evaluated(three, test_set, analyses)
    assert results["t", "top1"].value == 0.8
    assert results["t", "top1", "train"].value == pytest.approx(0.9)  # by the labels of its training
    assert results["t", "top1", "train"].n == 60
    for metric in ("agreement", "predictive_kl", "logit_spearman", "loss", "ece"):
        assert results["kd", metric, "train"].n == 60, metric
    assert results["kd", "agreement", "train"].value == 1
    assert {p.student for p in findings.pairs} == {"alone", "kd"}
    assert not any("part" in p.axes for p in findings.pairs)


def test_models_of_one_set_of_images_share_a_process(evaluated, three, test_set, training, monkeypatch):
    predicted = []
    real = accuracy.predict

    def noting(context, models, test):
        predicted.append([model.id for model in models])
        return real(context, models, test)

    for module in (accuracy, prediction):
        monkeypatch.setattr(module, "predict", noting)
    other = TrainingImages(training.images, training.true_labels, training.true_labels, training.drawn)
    analyses = Analyses(training={"t": training, "alone": training, "kd": other})
    results, _ = evaluated(three, test_set, analyses)
    assert predicted == [["t", "alone", "kd"], ["t", "alone"], ["t", "kd"]]  # the student's teacher comes along
    assert results["t", "top1", "train"].value == pytest.approx(0.9)
    assert results["kd", "top1", "train"].value == 1


def test_wrong_labels_are_followed_over_all_that_were_changed(evaluated, three, test_set, training):
    results, _ = evaluated(three, test_set, Analyses(training={"t": training, "alone": training}))
    corrected, memorised = results["t", "noise_corrected"], results["t", "noise_memorised"]
    assert (corrected.value, memorised.value, corrected.n) == (1, 0, 8)
    assert corrected.interval.low > 0.6
    assert results["alone", "noise_corrected"].value < 1
    assert ("kd", "noise_corrected") not in results


def test_without_training_samples_only_wrong_labels_are_looked_at(evaluated, three, test_set, training):
    none = TrainingImages(training.images, training.labels, training.true_labels, np.zeros(80, bool))
    results, _ = evaluated(three[:1], test_set, Analyses(training={"t": none}))
    assert results["t", "noise_corrected"].value == 1
    assert ("t", "top1", "train") not in results


def test_a_student_beside_the_independent_one(evaluated, three, test_set, training, by_hand):
    analyses = Analyses(
        class_names=NAMES, training=dict.fromkeys(("t", "alone", "kd"), training), independent={"kd": "alone"}
    )
    results, _ = evaluated(three, test_set, analyses)
    of_test = results["kd", "mismatches", "alone"]
    teacher, alone = (by_hand(test_set.inputs, seed=seed).argmax(1) == test_set.labels for seed in (0, 1))
    assert of_test.n == (teacher & ~alone).sum()  # kd says what the teacher says
    assert of_test.value == 0
    teacher, alone = (by_hand(training.images, seed=seed).argmax(1) == training.true_labels for seed in (0, 1))
    assert results["kd", "mismatches", "train", "alone"].n == (teacher & ~alone)[training.drawn].sum()
    assert ("alone", "mismatches", "kd") not in results


def test_a_gain_is_over_each_baseline_on_the_test_set(evaluated, three, test_set, training, by_hand):
    analyses = Analyses(
        training=dict.fromkeys(("t", "alone", "kd"), training), baselines={"kd": ("alone", "t"), "alone": ("gone",)}
    )
    results, _ = evaluated(three, test_set, analyses)
    teacher, alone = (by_hand(test_set.inputs, seed=seed).argmax(1) == test_set.labels for seed in (0, 1))
    assert results["kd", "top1_gain", "alone"].value == pytest.approx(100 * (teacher.mean() - alone.mean()))
    assert results["kd", "top1_gain", "t"].value == 0  # kd says what the teacher says
    gains = [key for key in results if key[1] in {"top1_gain", "top5_gain"}]
    assert {(key[0], key[2:]) for key in gains} == {("kd", ("alone",)), ("kd", ("t",))}


def test_a_gain_over_a_broken_model_has_its_reason(evaluated, tiny, bench_model, test_set):
    bench_models = [bench_model(tiny("t")), bench_model(tiny("broken", op="Unheard"), teacher="t")]
    results, _ = evaluated(bench_models, test_set, Analyses(baselines={"t": ("broken",)}))
    assert "Unheard" in results["t", "top1_gain", "broken"].reason


def test_a_model_without_predictions_for_the_test_set_does_not_predict_training_images(
    evaluated, tiny, bench_model, test_set, training
):
    bench_models = [bench_model(tiny("t")), bench_model(tiny("broken", op="Unheard"), teacher="t")]
    analyses = Analyses(training=dict.fromkeys(("t", "broken"), training), independent={"broken": "t"})
    results, _ = evaluated(bench_models, test_set, analyses)
    for key in (("ece",), ("class_top1",), ("top1", "train"), ("agreement", "train"), ("noise_corrected",)):
        assert results["broken", *key].status == "error", key
        assert "Unheard" in results["broken", *key].reason
    assert "Unheard" in results["broken", "distilled_risk_variance"].reason
    assert results["t", "top1", "train"].status == "ok"


def test_mismatches_with_a_broken_model_have_its_reason(evaluated, tiny, bench_model, test_set):
    bench_models = [
        bench_model(tiny("t")),
        bench_model(tiny("s"), teacher="t"),
        bench_model(tiny("broken", op="Unheard"), teacher="t"),
    ]
    results, _ = evaluated(bench_models, test_set, Analyses(independent={"s": "broken"}))
    assert "Unheard" in results["s", "mismatches_made", "broken"].reason


def test_without_a_test_set_there_is_a_reason_for_everything(evaluated, tiny, bench_model):
    bench_models = [bench_model(tiny("t"), data=False), bench_model(tiny("s"), teacher="t", data=False)]
    results, _ = evaluated(bench_models, None)
    assert {m.reason for m in results.values()} == {"no test data was named"}
    assert {metric for id_, metric in results if id_ == "s"} >= {"ece", "class_top1", "logit_spearman", "top1"}


def test_risks_are_of_the_students_losses_under_its_teachers_probabilities(evaluated, three, test_set, by_hand):
    results, _ = evaluated(three, test_set)
    logits = by_hand(test_set.inputs)  # of kd as of its teacher
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    losses = -log_p[np.arange(len(log_p)), test_set.labels]
    assert results["kd", "empirical_risk_variance"].value == pytest.approx(losses.var(ddof=1), rel=1e-3)
    expected = -(np.exp(log_p) * log_p).sum(axis=1)
    assert results["kd", "distilled_risk_variance"].value == pytest.approx(expected.var(ddof=1), rel=1e-3)
    assert results["kd", "distilled_risk_variance"].source == "probabilities of t"
    assert ("t", "empirical_risk_variance") not in results


def test_progress_runs_from_0_to_1_over_all_images(evaluated, three, test_set, training, watcher):
    evaluated(three, test_set, Analyses(training=dict.fromkeys(("t", "alone", "kd"), training)))
    done = [done for done, _, _ in watcher.steps]
    assert done == sorted(done)
    assert 0 <= done[0] <= done[-1] <= 1
