import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.metrics import balanced_accuracy_score, log_loss, recall_score, top_k_accuracy_score

from kdbench.evaluate.accuracy import accuracy_findings, class_accuracies, expected_calibration_error, noise_outcomes
from kdbench.evaluate.predictions import Analyses, Predictions, label_ranks, not_finite, with_finite_logits


def calibration_error(p, labels, **options):
    return expected_calibration_error(p.max(axis=1), p.argmax(axis=1) == labels, **options)


@pytest.fixture
def scores(bench_model, tiny):
    """Return the measurements of logits, by metric, and the warnings."""
    card = bench_model(tiny()).card

    def results(logits, labels, **options):
        labels = np.asarray(labels, dtype=np.int64)
        findings = accuracy_findings(Predictions.of(card, np.asarray(logits), labels, **options), labels)
        return {m.metric: m for m in findings.measurements}, findings.warnings

    return results


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 3, (400, 12)).astype(np.float32)


@pytest.fixture
def labels():
    return np.random.default_rng(1).integers(0, 12, 400)


def test_against_scikit_learn(scores, logits, labels):
    results, warnings = scores(logits, labels)
    classes = np.arange(12)
    assert results["top1"].value == top_k_accuracy_score(labels, logits, k=1, labels=classes)
    assert results["top5"].value == top_k_accuracy_score(labels, logits, k=5, labels=classes)
    assert results["loss"].value == pytest.approx(
        log_loss(labels, np.exp(log_softmax(logits, 1)), labels=classes), 1e-5
    )
    assert all(m.interval.low <= m.value <= m.interval.high for m in results.values() if m.metric != "ece")
    assert {m.n for m in results.values()} == {400}
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
    results, _ = scores(np.zeros((10, 10), np.float32), np.arange(10))
    assert results["top1"].value == 0.1
    assert results["top5"].value == 0.5


@pytest.mark.parametrize(("classes", "status"), [(4, "unavailable"), (5, "ok")])
def test_top5_of_few_classes(scores, classes, status):
    results, _ = scores(np.eye(classes, dtype=np.float32) - 0.5, np.arange(classes))
    assert results["top5"].status == status


def test_logits_that_are_no_numbers_are_counted(logits):
    assert not_finite(logits) is None
    logits[3, 2], logits[7] = np.nan, np.inf
    assert not_finite(logits) == "2 of 400 outputs hold NaN or infinity"


def test_classes_of_probability_zero_may_have_infinite_logits(scores, logits, labels):
    """The logarithm of a softmax, in float32, whose smallest values become 0: as the probabilities themselves."""
    sharp = (40 * logits).astype(np.float32)
    probabilities = np.exp(log_softmax(sharp, axis=1)).astype(np.float32)
    probabilities[probabilities < np.finfo(np.float32).tiny] = 0
    with np.errstate(divide="ignore"):
        logarithms = np.log(probabilities)
    zero, finite = np.isneginf(logarithms), with_finite_logits(logarithms)
    assert zero.any()
    assert not_finite(finite) is None
    np.testing.assert_array_equal(finite[~zero], logarithms[~zero])
    of_logarithms, _ = scores(finite, labels)
    of_probabilities, _ = scores(probabilities, labels)
    for metric in ("top1", "loss", "ece"):
        assert of_logarithms[metric].value == pytest.approx(of_probabilities[metric].value, rel=1e-5)


@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_logits_with_other_faults_stay_as_they_are(logits, fault):
    logits[0, 0], logits[0, 1] = -np.inf, fault
    assert not_finite(with_finite_logits(logits)) == "1 of 400 outputs hold NaN or infinity"
    logits[0] = -np.inf
    assert not_finite(with_finite_logits(logits)) == "1 of 400 outputs hold NaN or infinity"


def test_probabilities_are_not_softmaxed_again(scores, logits, labels):
    of_logits, _ = scores(logits, labels)
    of_probabilities, (warning,) = scores(np.exp(log_softmax(logits, axis=1)), labels)
    assert of_probabilities["loss"].value == pytest.approx(of_logits["loss"].value, rel=1e-5)
    assert warning.code == "probabilities"


def test_a_probability_of_zero_does_not_make_the_loss_infinite(scores):
    certain = np.eye(6, dtype=np.float32)
    certain[0, :2] = 0.75, 0.25
    results, (warning,) = scores(certain, [0, 1, 2, 3, 4, 0])
    assert results["loss"].value == pytest.approx((-np.log(0.75) + 126 * np.log(2)) / 6)  # 2 ** -126: float32's least
    assert warning.message.endswith(
        "; the labels of 1 of 6 samples have probability 0, a loss of 87.3 nats, not infinity"
    )


def test_probabilities_rounded_to_integers_have_a_calibration_error_and_no_loss(scores, logits, labels):
    rounded = np.rint(softmax(logits, 1) * 256).clip(0, 255) / 256
    results, warnings = scores(rounded, labels, form="rounded_probabilities")
    assert "rounded to integers" in results["loss"].reason
    assert results["ece"].value == calibration_error(rounded, labels)
    assert results["ece"].value == pytest.approx(calibration_error(softmax(logits, 1), labels), abs=1 / 256)
    assert warnings == ()


def test_a_calibration_error_has_no_interval(scores):
    results, _ = scores(np.eye(6)[:2] * 50 - 25, [0, 1])
    assert (results["ece"].value, results["ece"].interval, results["ece"].n) == (pytest.approx(0, abs=1e-9), None, 2)


def test_classes_against_scikit_learns_recall(tiny, bench_model):
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 7, 300), rng.integers(0, 7, 300)
    predictions = Predictions.of(bench_model(tiny()).card, np.eye(7)[predicted], labels)
    balanced, *measurements = class_accuracies(predictions, labels, Analyses())
    assert (balanced.metric, balanced.n) == ("balanced_accuracy", 300)
    assert balanced.value == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert balanced.interval.low < balanced.value < balanced.interval.high
    assert [m.value for m in measurements] == recall_score(labels, predicted, average=None).tolist()
    assert sum(m.n for m in measurements) == 300


def test_each_class_with_samples_has_its_number_of_samples(tiny, bench_model):
    labels = np.array([0, 0, 2])
    predictions = Predictions.of(bench_model(tiny()).card, np.eye(6)[[0, 1, 2]], labels)
    balanced, *measurements = class_accuracies(predictions, labels, Analyses(("cat", "dog", "bird", "fish")))
    assert balanced.value == 0.75
    assert [(m.axes["class"], m.value, m.n) for m in measurements] == [("cat", 0.5, 2), ("bird", 1, 1)]
    assert all(m.interval.low <= m.value <= m.interval.high for m in measurements)


def test_flipped_images_are_corrected_memorised_or_neither():
    true = np.array([0, 1, 2, 3, 0])
    labels = np.array([1, 2, 3, 3, 1])  # the fourth was left alone
    predicted = np.array([0, 2, 0, 3, 0])
    outcomes = noise_outcomes(predicted, labels, true)
    assert outcomes == (2, 1, 4)


def test_images_that_were_left_alone_do_not_count():
    labels = np.arange(4)
    assert noise_outcomes(labels, labels, labels) == (0, 0, 0)


@pytest.mark.parametrize(
    ("seed", "classes", "sharpness", "expected"),
    [
        (0, 2, 0.1, 0.0298984),
        (1, 3, 0.5, 0.0954507),
        (2, 10, 1.0, 0.2003145),
        (3, 12, 3.0, 0.5915298),
        (4, 5, 8.0, 0.6787695),
        (5, 7, 20.0, 0.7703893),
        (6, 2, 2.0, 0.2776552),
        (7, 10, 0.3, 0.0708193),
    ],
)
def test_calibration_errors_of_torchmetrics(seed, classes, sharpness, expected):
    """Values of torchmetrics 1.9.0; where it is installed, every process that trains imports it, for seconds."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(200, classes))
    labels = rng.integers(0, classes, 200)
    assert calibration_error(softmax(logits, 1), labels) == pytest.approx(expected, abs=1e-6)


def test_by_hand():
    # Two bins of ten: (.8, .9] holds two samples of confidence .9, one right; (.5, .6] two of .6, both right.
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    labels = np.array([0, 1, 0, 1])
    assert calibration_error(p, labels, bins=10) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)


def test_a_model_that_knows_is_calibrated_and_one_that_is_sure_and_wrong_is_not():
    sure = np.full((50, 2), [1 - 1e-12, 1e-12])
    assert calibration_error(sure, np.zeros(50, np.int64)) == pytest.approx(0, abs=1e-9)
    assert calibration_error(sure, np.ones(50, np.int64)) == pytest.approx(1, abs=1e-9)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    p = np.array([[0.6, 0.4], [0.55, 0.45]])  # of ten bins both lie in (.5, .6]
    labels = np.array([0, 1])
    assert calibration_error(p, labels, bins=10) == pytest.approx(abs(0.5 - 0.575))
