import dataclasses

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.metrics import log_loss, top_k_accuracy_score

from kdbench.errors import InputError
from kdbench.evaluate import accuracy
from kdbench.evaluate.accuracy import accuracy_findings, judge, label_ranks
from kdbench.measure.bench_model import TestSet
from kdbench.measure.staging import stage
from kdbench.progress import SubProgress
from kdbench.results.cards import Preprocessing
from kdbench.worker.process import WorkerError


@pytest.fixture
def scores(subject, tiny):
    """Return what is found of logits, by metric, for a model that stands for any."""
    any_model = subject(tiny())

    def found(logits, labels):
        labels = np.asarray(labels, dtype=np.int64)
        findings = accuracy_findings(any_model, judge(np.asarray(logits), labels), labels)
        return {m.metric: m for m in findings.measurements}, findings.warnings

    return found


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 3, (400, 12)).astype(np.float32)


@pytest.fixture
def labels():
    return np.random.default_rng(1).integers(0, 12, 400)


def test_against_scikit_learn(scores, logits, labels):
    found, warnings = scores(logits, labels)
    classes = np.arange(12)
    assert found["top1"].value == top_k_accuracy_score(labels, logits, k=1, labels=classes)
    assert found["top5"].value == top_k_accuracy_score(labels, logits, k=5, labels=classes)
    assert found["loss"].value == pytest.approx(log_loss(labels, np.exp(log_softmax(logits, 1)), labels=classes), 1e-5)
    assert all(m.interval.low <= m.value <= m.interval.high for m in found.values())
    assert {m.n for m in found.values()} == {400}
    assert warnings == ()


def test_loss_is_stable_for_logits_far_from_zero(scores, logits, labels):
    near, _ = scores(logits.astype(np.float64), labels)
    far, _ = scores(logits.astype(np.float64) + 1e4, labels)
    assert far["loss"].value == pytest.approx(near["loss"].value, abs=1e-9)


def test_of_equal_logits_the_lowest_index_wins_as_in_argmax():
    logits = np.random.default_rng(0).integers(0, 3, (1000, 8)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 8, 1000)
    ranks = label_ranks(logits, labels)
    order = np.argsort(-logits, axis=1, kind="stable")
    np.testing.assert_array_equal(ranks, (order == labels[:, None]).argmax(axis=1))
    np.testing.assert_array_equal(ranks == 0, logits.argmax(axis=1) == labels)


def test_a_constant_model_is_right_about_class_zero_only(scores):
    found, _ = scores(np.zeros((10, 10), np.float32), np.arange(10))
    assert found["top1"].value == 0.1
    assert found["top5"].value == 0.5


@pytest.mark.parametrize(("classes", "status"), [(4, "unavailable"), (5, "ok")])
def test_top5_of_few_classes(scores, classes, status):
    found, _ = scores(np.eye(classes, dtype=np.float32), np.arange(classes))
    assert found["top5"].status == status


def test_logits_that_are_no_numbers_give_no_number(scores, logits, labels):
    logits[3, 2], logits[7] = np.nan, np.inf
    found, _ = scores(logits, labels)
    assert {m.status for m in found.values()} == {"invalid"}
    assert all(m.value is None and "2 of 400" in m.reason for m in found.values())


def test_probabilities_are_not_softmaxed_again(scores, logits, labels):
    of_logits, _ = scores(logits, labels)
    of_probabilities, (warned,) = scores(np.exp(log_softmax(logits, axis=1)), labels)
    assert of_probabilities["loss"].value == pytest.approx(of_logits["loss"].value, rel=1e-5)
    assert warned.code == "probabilities"


def test_a_probability_of_zero_does_not_make_the_loss_infinite(scores):
    found, _ = scores(np.eye(6, dtype=np.float32), [0, 1, 2, 3, 4, 0])
    assert 0 < found["loss"].value < 20


@pytest.fixture
def evaluated(tmp_path, watcher):
    def run(subjects, test):
        models = stage(subjects, test, tmp_path, 0)
        return accuracy.evaluate(subjects, models, test, "cpu", 1, tmp_path, SubProgress(watcher, 0, 1, "accuracy"))

    return run


@pytest.mark.parametrize("batch", ["n", 1, 7, 64])
def test_any_batch_gives_the_same_logits(evaluated, tiny, subject, test_set, by_hand, batch):
    one = subject(tiny(batch=batch))
    found = evaluated([one], test_set)[one.id]
    np.testing.assert_allclose(found.logits, by_hand(test_set.images), rtol=1e-4, atol=1e-4)
    assert (found.ranks == 0).mean() == 0.8


@pytest.mark.parametrize(
    ("shape", "axes"), [((2, 3, 4), (0, 1, 2, 3)), ((3, 4, 2), (0, 2, 3, 1)), ((24,), (0, 1, 2, 3))]
)
def test_any_layout_sees_the_same_pixels(evaluated, tiny, subject, test_set, by_hand, shape, axes):
    pre = Preprocessing(mean=(0.4, 0.5), std=(0.2, 0.3))
    one = subject(tiny(shape=shape), preprocessing=pre)
    expected = by_hand(test_set.images, pre=pre, axes=axes)
    np.testing.assert_allclose(evaluated([one], test_set)[one.id].logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 0.02), ("float64", 1e-4)])
def test_any_type_of_input(evaluated, tiny, subject, test_set, by_hand, dtype, tolerance):
    one = subject(tiny(dtype=dtype))
    np.testing.assert_allclose(evaluated([one], test_set)[one.id].logits, by_hand(test_set.images), atol=tolerance)


def test_a_uint8_input_gets_pixels(evaluated, tiny, subject, test_set, by_hand):
    one = subject(tiny(dtype="uint8"))
    expected = by_hand(test_set.images, pre=Preprocessing(scale=1))
    np.testing.assert_allclose(evaluated([one], test_set)[one.id].logits, expected, rtol=1e-4)


def test_models_of_different_preprocessing_do_not_mix(evaluated, tiny, subject, test_set, by_hand):
    raw, scaled = Preprocessing(scale=1.0), Preprocessing(scale=255.0)
    subjects = [
        subject(tiny(name, seed=seed), preprocessing=pre)
        for name, seed, pre in (("a", 0, raw), ("b", 1, scaled), ("c", 2, raw), ("d", 3, scaled))
    ]
    found = evaluated(subjects, test_set)
    for seed, each in enumerate(subjects):
        expected = by_hand(test_set.images, seed=seed, pre=each.card.preprocessing)
        np.testing.assert_allclose(found[each.id].logits, expected, rtol=1e-4, atol=1e-3)


def test_a_model_the_runtime_refuses_leaves_the_others(evaluated, tiny, subject, test_set):
    broken, sound = subject(tiny("broken", op="Unheard")), subject(tiny("sound"))
    found = evaluated([broken, sound], test_set)
    assert found["broken"].status == "error"
    assert "Unheard" in found["broken"].reason
    assert found["sound"].status == "ok"


def test_a_model_that_kills_the_process_is_left_out(evaluated, tiny, subject, test_set, monkeypatch):
    real = accuracy.run_job

    def dies_of_the_second(job, *rest, **options):
        ids = [model["id"] for model in job["models"]]
        if "b" in ids:
            before = ids.index("b")
            real({**job, "models": job["models"][:before], "files": job["files"][:before]}, *rest, **options)
            raise WorkerError("killed", "", "b")
        return real(job, *rest, **options)

    monkeypatch.setattr(accuracy, "run_job", dies_of_the_second)
    found = evaluated([subject(tiny(name)) for name in "abc"], test_set)
    assert [found[name].status for name in "abc"] == ["ok", "error", "ok"]
    assert found["b"].reason == "killed"


def test_logits_of_an_earlier_pass_are_not_taken_for_this_ones(
    evaluated, tiny, subject, test_set, tmp_path, monkeypatch
):
    def dies(*_, **__):
        raise WorkerError("killed", "", None)

    np.save(tmp_path / "logits-0.npy", np.zeros((50, 6), np.float32))
    monkeypatch.setattr(accuracy, "run_job", dies)
    found = evaluated([subject(tiny())], test_set)["tiny"]
    assert (found.status, found.reason, found.logits) == ("error", "killed", None)


def test_classes_must_fit_the_labels(evaluated, tiny, subject, test_set):
    with pytest.raises(InputError, match="3 classes apart, but the data has at least 6"):
        evaluated([subject(tiny(classes=3))], test_set)
    with pytest.raises(InputError, match="6 classes apart, but the data has 100"):
        evaluated([subject(tiny())], dataclasses.replace(test_set, classes=100))
    more = evaluated([subject(tiny("more", classes=9))], TestSet(test_set.images, test_set.labels))
    assert more["more"].logits.shape == (50, 9)


def test_a_test_part_without_the_last_class_fits_the_right_model(evaluated, tiny, subject, test_set):
    seen = test_set.labels < 5
    part = TestSet(test_set.images[seen], test_set.labels[seen], classes=None)
    assert evaluated([subject(tiny())], part)["tiny"].status == "ok"


@pytest.mark.parametrize(("cores", "said"), [(1, "1 thread,"), (2, "2 threads,")])
def test_the_source_counts_its_threads(tiny, subject, test_set, tmp_path, watcher, cores, said):
    one = subject(tiny())
    models = stage([one], test_set, tmp_path, 0)
    portion = SubProgress(watcher, 0, 1, "accuracy")
    assert said in accuracy.evaluate([one], models, test_set, "cpu", cores, tmp_path, portion)["tiny"].source


def test_progress_ends_at_the_end(evaluated, tiny, subject, test_set, watcher):
    evaluated([subject(tiny("a")), subject(tiny("b"))], test_set)
    assert all(0 <= done <= total == 1 for done, total, _ in watcher.steps)
