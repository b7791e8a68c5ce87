"""What a model's outputs are, by their values."""

import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax

from kdbench.evaluate.accuracy import accuracy_findings
from kdbench.evaluate.class_map import ABSENT, ClassMap
from kdbench.evaluate.predictions import Predictions

LABELS = np.random.default_rng(1).integers(0, 5, 60)
LOGITS = np.random.default_rng(0).normal(0, 2, (60, 5)) + 3 * np.eye(5)[LABELS]


@pytest.fixture
def measured(bench_model, tiny):
    """Return the form of outputs, and the values of their metrics."""
    card = bench_model(tiny()).card

    def results(outputs, meanings=None):
        predictions = Predictions.of(card, outputs.astype(np.float32), LABELS, meanings=meanings)
        return predictions.form, {m.metric: m.value for m in accuracy_findings(predictions, LABELS).measurements}

    return results


SHARES = softmax(LOGITS, axis=1)
OUTPUTS = {
    "logits": (LOGITS, "logits"),
    "far from zero": (LOGITS + 1e4, "logits"),
    "all positive": (LOGITS - LOGITS.min() + 1, "logits"),
    "equal for all samples": (np.tile(np.linspace(0.1, 0.5, 5), (60, 1)), "logits"),
    "a softmax": (SHARES, "probabilities"),
    "percent": (100 * SHARES, "scores"),
    "the sum of two": (SHARES + softmax(LOGITS / 2, axis=1), "scores"),
    "a softmax squared": (SHARES**2, "scores"),
    "sigmoids": (expit(LOGITS), "scores"),
    "one-hot rows": (np.eye(5)[LOGITS.argmax(axis=1)], "class"),
}


@pytest.mark.parametrize("which", OUTPUTS)
def test_only_logits_and_probabilities_have_a_loss(measured, which):
    outputs, expected = OUTPUTS[which]
    form, values = measured(outputs)
    assert form == expected
    assert values["top1"] == (outputs.argmax(axis=1) == LABELS).mean()
    if form in {"logits", "probabilities"}:
        log_p = np.log(outputs) if form == "probabilities" else log_softmax(outputs, axis=1)
        assert values["loss"] == pytest.approx(-log_p[np.arange(60), LABELS].mean(), abs=1e-3)
    else:
        assert values["loss"] is None


ROUNDED = {
    "256 levels": (np.rint(SHARES * 255) / 255, True),
    "a limit below 1": (np.minimum(np.rint(SHARES * 400), 255) / 400, True),
    "many classes": (np.rint(softmax(np.tile(LOGITS, 40), axis=1) * 255) / 255, True),
    "integers of unknown scale": (np.rint(SHARES * 255), False),
    "the complement of such integers": (1 - np.rint(SHARES * 255), False),
    "a softmax of the wrong axis": (np.rint(softmax(LOGITS, axis=0) * 255) / 255, False),
    "only zeros": (np.zeros((60, 5)), False),
}


@pytest.mark.parametrize("which", ROUNDED)
def test_rounded_probabilities_sum_to_one_but_for_the_rounding(bench_model, tiny, which):
    outputs, are = ROUNDED[which]
    predictions = Predictions.of(bench_model(tiny()).card, outputs, LABELS, form="rounded_probabilities")
    assert predictions.form == ("rounded_probabilities" if are else "scores")
    errors = [m.value for m in accuracy_findings(predictions, LABELS).measurements if m.metric == "ece"]
    assert [error is not None for error in errors] == [are]


def test_small_outputs_of_a_network_of_a_recipe_are_logits(bench_model, tiny):
    """A network that has hardly been trained may have logits between 0 and 1 for all samples."""
    logits = (LOGITS - LOGITS.min()) / np.ptp(LOGITS)
    card = bench_model(tiny()).card.model_copy(update={"weights": "checkpoints/student/weights.safetensors"})
    predictions = Predictions.of(card, logits, LABELS)
    values = {m.metric: m.value for m in accuracy_findings(predictions, LABELS).measurements}
    assert predictions.form == "logits"
    assert values["loss"] == pytest.approx(-log_softmax(logits, axis=1)[np.arange(60), LABELS].mean())


def test_classes_without_an_output_do_not_make_a_top5(measured):
    mapped = ClassMap((*range(4), ABSENT))
    _, values = measured(mapped.arranged(LOGITS[:, :4], "logits", "m"), mapped.meanings)
    assert values["top5"] is None
    further = ClassMap((*range(5), ABSENT))
    _, values = measured(further.arranged(LOGITS, "logits", "m"), further.meanings)
    assert values["top5"] == 1


def test_a_softmax_that_lacks_a_class_is_one(measured):
    """The column of a class that the model does not know has no probability, and is no reason for another form."""
    mapped = ClassMap((0, 1, 2, 3, 4, ABSENT))
    form, values = measured(mapped.arranged(SHARES, "logits", "m"), mapped.meanings)
    assert form == "probabilities"
    assert values["loss"] == pytest.approx(-np.log(SHARES[np.arange(60), LABELS]).mean(), abs=1e-5)
