"""What kdbench suspects of a model that is wrong too often."""

from dataclasses import replace

import numpy as np
import pytest

from kdbench.evaluate.predictions import Predictions
from kdbench.evaluate.sanity_checks import sanity_warnings
from kdbench.results.cards import ModelCard, Variant
from kdbench.results.preprocessing import Preprocessing

LABELS = np.arange(200) % 10


def predictions(name, predicted, classes=11, **preprocessing):
    card = ModelCard(
        id=name, name=name, role="student", file="m.onnx", sha256="0", input_shape=(1, 8, 8), classes=classes,
        parameters=0, preprocessing=Preprocessing(**preprocessing),
    )  # fmt: skip
    return Predictions.of(card, np.eye(classes, dtype=np.float32)[predicted], LABELS)


@pytest.mark.parametrize("shift", [1, -1])
def test_classes_that_are_moved_by_one(shift):
    model = predictions("m", (LABELS + shift) % 11)
    (diagnostic,) = sanity_warnings([model], LABELS)
    assert (diagnostic.code, diagnostic.model) == ("shifted_classes", "m")
    assert f"{shift:+d}" in diagnostic.message


def scored(logits, labels):
    card = predictions("m", LABELS).card.model_copy(update={"classes": logits.shape[1]})
    return Predictions.of(card, logits.astype(np.float32), labels)


def test_two_classes_in_reverse_order():
    labels = (np.arange(100) % 5 < 3).astype(int)  # 60 of the second class
    logits = np.eye(2)[1 - labels] * 4 - 1
    logits[:4] = logits[:4, ::-1]
    (diagnostic,) = sanity_warnings([scored(logits, labels)], labels)
    assert diagnostic.code == "reversed_classes"
    assert "top-1 is 4.00 %, but 96.00 % with its classes in reverse order" in diagnostic.message
    logits[4:50] = logits[4:50, ::-1]  # half of them wrong
    assert list(sanity_warnings([scored(logits, labels)], labels)) == []


def test_one_value_that_is_no_logit_gives_one_class():
    """The value is the logarithm of a sigmoid, which is below 0 for both classes."""
    labels = np.arange(60) % 2
    value = -np.log1p(np.exp(-np.where(labels, 3.0, -3.0)))
    two = np.stack([np.zeros(60), value], axis=1)
    (diagnostic,) = sanity_warnings([scored(two, labels)], labels)
    assert (diagnostic.code, diagnostic.message) == ("one_class", "it predicts class 0 for all 60 samples")
    assert list(sanity_warnings([scored(two[:19], labels[:19])], labels[:19])) == []
    assert list(sanity_warnings([scored(two, np.zeros(60, int))], np.zeros(60, int))) == []


def test_one_class_of_a_model_that_kdbench_made_is_no_question_of_its_preprocessing():
    model = predictions("m", np.zeros(200, int))
    (theirs,) = sanity_warnings([model], LABELS)
    made = Variant(of="best", source_sha256="0", method="int8", key="0")
    (compressed,) = sanity_warnings([replace(model, card=model.card.model_copy(update={"variant": made}))], LABELS)
    assert (theirs.code, compressed.code) == ("one_class", "one_class")
    assert "preprocessing" in theirs.remedy
    assert compressed.remedy.startswith("compress it less, unless the model that it was made of")


def test_ten_classes_in_reverse_order():
    logits = np.random.default_rng(1).random((200, 10)) + 3 * np.eye(10)[9 - LABELS]
    (diagnostic,) = sanity_warnings([scored(logits, LABELS)], LABELS)
    assert (diagnostic.code, "but 100.00 %" in diagnostic.message) == ("reversed_classes", True)


@pytest.mark.parametrize(("first", "classes"), [(0, 12), (1, 102)])
def test_classes_in_the_order_of_their_names_as_text(first, classes):
    """As torchvision's ImageFolder numbers them: of twelve classes the first two are right in both orders."""
    names = [str(first + number) for number in range(classes)]
    labels = np.arange(5 * classes) % classes
    order = sorted(names)
    logits = np.random.default_rng(1).random((len(labels), classes))
    for row, label in zip(logits, labels, strict=True):
        row[order.index(names[label])] += 3
    (diagnostic,) = sanity_warnings([scored(logits, labels)], labels, names)
    assert diagnostic.code == "text_order"
    assert "but 100.00 % with its classes in the order of their names as text" in diagnostic.message
    padded = [f"{first + number:03}" for number in range(classes)]
    assert "text_order" not in {found.code for found in sanity_warnings([scored(logits, labels)], labels, padded)}
    right = np.random.default_rng(1).random((len(labels), classes)) + 3 * np.eye(classes)[labels]
    assert list(sanity_warnings([scored(right, labels)], labels, names)) == []


def test_classes_in_any_other_order():
    order = np.array([3, 1, 0, 2, 9, 8, 7, 6, 5, 4])  # one class is in its place
    logits = np.random.default_rng(1).random((200, 10)) + 3 * np.eye(10)[order[LABELS]]
    logits[:20] = logits[20:40, ::-1]
    (diagnostic,) = sanity_warnings([scored(logits, LABELS)], LABELS)
    right = (logits.argmax(axis=1) == order[LABELS]).mean()
    assert diagnostic.code == "class_order"
    assert (
        f"but {100 * right:.2f} % with its classes in another order, such as output 3 for class 0" in diagnostic.message
    )
    few = slice(0, 49)
    assert "class_order" not in {
        found.code for found in sanity_warnings([scored(logits[few], LABELS[few])], LABELS[few])
    }


def test_a_model_that_is_often_wrong_has_no_other_order():
    rng = np.random.default_rng(2)
    for strength in (0.0, 0.3, 1.0):
        logits = rng.random((200, 10)) + strength * np.eye(10)[LABELS]
        assert not list(sanity_warnings([scored(logits, LABELS)], LABELS))
    merged = rng.random((200, 10)) + 3 * np.eye(10)[np.minimum(LABELS + 5, 9)]  # several classes have one output
    assert "class_order" not in {found.code for found in sanity_warnings([scored(merged, LABELS)], LABELS)}


def test_distances_rank_the_best_class_last():
    centres = np.random.default_rng(0).standard_normal((10, 4))
    distances = ((centres[LABELS][:, None] + 0.01 - centres) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) == LABELS).all()
    (diagnostic,) = sanity_warnings([scored(distances, LABELS)], LABELS)
    assert diagnostic.code == "negated_scores"
    assert "top-1 is 0.00 %, but 100.00 % by its smallest values" in diagnostic.message


def test_few_samples_show_no_other_reading():
    labels = np.arange(4) % 2
    assert list(sanity_warnings([scored(np.eye(2)[1 - labels] * 4 - 1, labels)], labels)) == [], "1 of 16 by chance"
    labels = np.arange(10)
    predicted = (labels + np.where(labels < 3, 1, 3)) % 10
    assert list(sanity_warnings([scored(np.eye(10)[predicted] * 4 - 1, labels)], labels)) == [], "3 of 10 are shifted"
    labels = np.tile(labels, 10)
    (diagnostic,) = sanity_warnings([scored(np.eye(10)[np.tile(predicted, 10)] * 4 - 1, labels)], labels)
    assert "30.00 % with its classes shifted by +1" in diagnostic.message


def test_noise_is_no_shift():
    model = predictions("m", np.random.default_rng(0).integers(0, 10, len(LABELS)))
    assert list(sanity_warnings([model], LABELS)) == []


def test_a_drop_is_suspicious_while_nobody_knows_the_preprocessing():
    half = np.where(np.arange(len(LABELS)) % 2, LABELS, (LABELS + 5) % 10)
    best, unknown = predictions("best", LABELS), predictions("unknown", half)
    known = predictions("known", half, sources={"mean": "its card"})
    assert [(d.code, d.model) for d in sanity_warnings([best, unknown, known], LABELS)] == [
        ("unknown_preprocessing", "unknown")
    ]


def test_a_variant_that_compression_made_worse_is_not_said_to_be_fed_wrongly():
    half = np.where(np.arange(len(LABELS)) % 2, LABELS, (LABELS + 5) % 10)
    best, variant = predictions("best", LABELS), predictions("variant", half)
    made = Variant(of="best", source_sha256="0", method="int8", key="0")
    compressed = replace(variant, card=variant.card.model_copy(update={"variant": made}))
    assert list(sanity_warnings([best, compressed], LABELS)) == []
