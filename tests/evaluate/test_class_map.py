"""The outputs of a model for the classes of the data: by name, by number, or refused."""

import re
from dataclasses import replace

import numpy as np
import pytest

from kdbench.errors import InputError
from kdbench.evaluate.class_map import ABSENT, ClassMap, class_map

PETS = ("cat", "dog", "fish")


def mapped(outputs, labels, names, occurring=None, *, inferred=False):
    occurring = range(len(names)) if occurring is None else occurring
    return class_map("m", outputs, labels, names, list(occurring), inferred=inferred)


@pytest.mark.parametrize(
    ("outputs", "labels", "names", "columns"),
    [
        (3, None, PETS, (0, 1, 2)),
        (3, ("dog", "fish", "cat"), PETS, (2, 0, 1)),
        (4, ("background", "Cat", "dog", "FISH"), PETS, (1, 2, 3)),  # an extra class, another spelling
        (3, ("cat", "dog", "goldfish, Carassius auratus"), ("goldfish",), (2,)),  # ImageNet's synonyms
        (3, ("0: dog", "1: cat", "2: fish"), PETS, (1, 0, 2)),  # as in a mapping of outputs to names
        (3, ("'dog'", '"cat"', "fish"), PETS, (1, 0, 2)),
        (3, ("0: 'dog, hound',", "1: 'cat'", "2: 'fish'"), PETS, (1, 0, 2)),
        (2, ("n01440764 tench, Tinca tinca", "n01443537 goldfish"), ("n01443537", "tench"), (1, 0)),
        (4, ("polar-bear", "cat", "dog", "fish"), ("polar_bear",), (0,)),
        (10, None, ("3", "7"), (3, 7)),  # folders named by number
        (10, tuple("1234567890"), tuple("0123456789"), (9, 0, 1, 2, 3, 4, 5, 6, 7, 8)),
    ],
)
def test_each_class_has_the_output_of_its_name(outputs, labels, names, columns):
    result = mapped(outputs, labels, names)
    assert result.columns == columns
    assert sorted((*columns, *result.others)) == list(range(outputs))


def test_a_class_without_samples_needs_no_output():
    assert mapped(2, ("cat", "dog"), PETS, occurring=[0, 1]).columns == (0, 1, ABSENT)
    with pytest.raises(InputError, match="'fish'"):
        mapped(2, ("cat", "dog"), PETS)


def test_labels_that_count_from_1_are_mapped_by_number():
    numbers = tuple(str(number) for number in range(4))  # what an archive without names has up to label 3
    with pytest.raises(InputError, match="count from 1 to 3") as caught:
        mapped(3, None, numbers, occurring=[1, 2, 3], inferred=True)
    assert "--labels" in caught.value.hint
    assert mapped(3, ("1", "2", "3"), numbers, occurring=[1, 2, 3], inferred=True).columns == (ABSENT, 0, 1, 2)


@pytest.mark.parametrize(
    ("outputs", "labels", "names", "message"),
    [
        (10, None, PETS, "distinguishes 10 classes, but the data has 3"),
        (2, None, PETS, "distinguishes 2 classes, but the data has 3"),
        (3, ("cat", "dog"), PETS, "3 outputs, but 2 labels"),
        (3, ("1: dog", "0: cat", "2: fish"), PETS, "no output for the classes 'cat', 'dog'"),
        (4, ("cat", "crane", "crane", "dog"), ("crane", "dog"), "several outputs called 'crane'"),
    ],
)
def test_classes_that_cannot_be_mapped_are_refused(outputs, labels, names, message):
    with pytest.raises(InputError, match=message) as refused:
        mapped(outputs, labels, names)
    assert "--labels FILE" not in refused.value.hint  # names in or beside the file have precedence over it


def test_two_outputs_of_one_name_are_told_apart_by_their_place():
    names = ("cat", "crane", "dog", "crane")
    assert mapped(4, names, names).is_identity


@pytest.mark.parametrize(
    ("labels", "names", "columns"),
    [
        (("c", "C"), ("C", "c"), (1, 0)),  # letters of both cases
        (("1", "-1"), ("-1", "1"), (1, 0)),  # signs of a decision
        (("a_b", "a-b", "01", "1"), ("1", "01", "a-b", "a_b"), (3, 2, 1, 0)),
        (("C", "c", "d"), ("C", "D"), (0, 2)),
        (("cat", "cat, black"), ("cat, black", "cat"), (1, 0)),
    ],
)
def test_names_that_differ_in_spelling_alone_are_told_apart(labels, names, columns):
    assert mapped(len(labels), labels, names).columns == columns


def test_other_classes_that_differ_in_spelling_alone_have_one_order_in_all_models():
    one, other = mapped(3, ("cat", "c", "C"), ("cat",)), mapped(3, ("C", "c", "cat"), ("cat",))
    assert ((*one.columns, *one.others), (*other.columns, *other.others)) == ((0, 2, 1), (2, 0, 1))


def test_arranging_keeps_every_output_and_gives_absent_classes_no_probability():
    logits = np.array([[1.0, 2.0, 3.0], [6.0, 5.0, 4.0]], np.float32)
    arranged = ClassMap((2, ABSENT), (0, 1)).arranged(logits, "logits", "m")
    np.testing.assert_array_equal(arranged[:, [0, 2, 3]], logits[:, [2, 0, 1]])
    shares = np.exp(arranged) / np.exp(arranged).sum(axis=1, keepdims=True)
    assert shares[:, 1].max() < 1e-40
    np.testing.assert_array_equal(
        ClassMap((ABSENT, 0), ()).arranged(np.array([[0.5]]), "probabilities", "m"), [[0, 0.5]]
    )
    decisions = ClassMap((0, 1, ABSENT), ()).arranged(np.array([[-3.0, -1.0]]), "probabilities", "m")
    assert decisions.argmax() == 1  # declared as probabilities, and all negative


@pytest.mark.parametrize("returned", [8, 12])
def test_outputs_of_another_width_than_the_file_declares_are_refused(returned):
    names = tuple("abcdefghij")
    for classes in (mapped(10, None, names), mapped(10, names[::-1], names), mapped(None, None, names)):
        with pytest.raises(InputError, match=f"m returns the scores of {returned} classes, not of 10"):
            classes.arranged(np.zeros((3, returned)), "logits", "m")


def test_an_open_width_may_have_more_classes_than_the_labels_tell():
    scores = np.eye(12)[[3, 11]]
    classes = mapped(None, None, tuple(map(str, range(10))), inferred=True)
    np.testing.assert_array_equal(classes.arranged(scores, "logits", "m"), scores)
    declared = mapped(12, None, tuple(map(str, range(10))), inferred=True)
    assert classes.for_width(12, "logits", "m").meanings == declared.meanings
    with pytest.raises(InputError, match="the scores of 8 classes"):
        classes.arranged(scores[:, :8], "logits", "m")


def test_an_open_width_has_the_classes_of_folders_named_by_number_as_a_declared_one():
    classes = mapped(None, None, ("3", "7"))
    scores = np.eye(10)[[3, 7, 0]]
    np.testing.assert_array_equal(classes.arranged(scores, "logits", "m")[:, :3], np.eye(3))
    assert classes.for_width(10, "logits", "m") == replace(mapped(10, None, ("3", "7")), may_have_more=True)
    np.testing.assert_array_equal(classes.arranged(np.eye(2), "logits", "m"), np.eye(2))
    for returned in (1, 5):  # zeros took the place of the class 7
        with pytest.raises(InputError, match=f"the scores of {returned} classes, not of 2"):
            classes.arranged(np.zeros((3, returned)), "logits", "m")


def test_scores_of_numbers_of_classes_are_widened():
    np.testing.assert_array_equal(ClassMap((0, 1, 2, 3)).arranged(np.array([[0.0, 1.0]]), "class", "m"), [[0, 1, 0, 0]])


def test_a_class_of_number_and_name_is_called_by_either():
    names = ("0 - zero", "1 - one")
    assert mapped(2, ("1", "0"), names).columns == (1, 0)
    assert mapped(2, ("one", "zero"), names).columns == (1, 0)


def test_numbers_of_classes_are_mapped_by_the_numbers_of_folders_and_keep_the_other_classes():
    result = mapped(None, None, ("3", "7"))
    assert result.columns == (3, 7)
    scores = np.eye(9, dtype=np.float32)[[7, 3, 0]]
    assert result.arranged(scores, "class", "m").argmax(axis=1)[:2].tolist() == [1, 0]
    assert result.arranged(scores, "class", "m").argmax(axis=1)[2] > 1  # not a class of the data


def test_columns_of_two_models_are_the_same_classes_where_their_meanings_are():
    one = mapped(4, ("cat", "dog", "fish", "bird"), ("cat", "dog"))
    same = mapped(4, ("fish", "bird", "dog", "Cat"), ("cat", "dog"))
    other = mapped(4, ("fish", "cow", "dog", "cat"), ("cat", "dog"))
    assert one.meanings == same.meanings == ("class 0", "class 1", "bird", "fish")
    assert other.meanings != one.meanings
    assert mapped(2, ("cat", "dog"), PETS, occurring=[0, 1]).meanings == ("class 0", "class 1", "")
    unnamed, named = mapped(12, None, ("3", "7")), mapped(12, tuple(map(str, range(12))), ("3", "7"))
    assert unnamed.meanings == named.meanings


def test_numbers_among_labels_name_the_numbers_of_data_without_names():
    """In their own places, all labels may be in the data's order; elsewhere they say that it differs."""
    numbers = ("0", "1", "2")
    assert mapped(4, ("2", "0", "other", "1"), numbers, inferred=True).columns == (1, 3, 0)
    assert mapped(3, ("0", "1", "A"), numbers, inferred=True).columns == (0, 1, 2)
    assert mapped(3, ("cat", "dog", "tree"), numbers, inferred=True).columns == (0, 1, 2)
    with pytest.raises(InputError, match="no output for the classes '2'"):
        mapped(3, ("1", "0", "A"), numbers, inferred=True)


@pytest.mark.parametrize(
    ("labels", "wrong"),
    [
        (("class_1", "class_10", *(f"class_{number}" for number in range(2, 10))), "output 1 is 'class_10'"),
        (("2: owl", "0: cat", "1: dog"), "output 0 is '2: owl'"),
    ],
)
def test_labels_with_numbers_in_another_order_do_not_stand_for_data_without_names(labels, wrong):
    numbers = tuple(str(number) for number in range(len(labels)))
    with pytest.raises(InputError, match=wrong) as caught:
        mapped(len(labels), labels, numbers, inferred=True)
    assert "--labels" in caught.value.hint
    in_order = tuple(sorted(labels, key=lambda label: int(re.sub(r"\D", "", label))))
    assert mapped(len(labels), in_order, numbers, inferred=True).columns == tuple(range(len(labels)))
    unrelated = (*labels[:-1], "series 300")
    assert mapped(len(labels), unrelated, numbers, inferred=True).columns == tuple(range(len(labels)))


def test_two_classes_with_samples_need_two_outputs():
    with pytest.raises(InputError, match="one output, 'C', for the classes 'C' and 'c' of the data"):
        mapped(2, ("C", "d"), ("C", "c", "d"))
    assert mapped(2, ("C", "d"), ("C", "c", "d"), occurring=[0, 2]).columns == (0, ABSENT, 1)
    assert mapped(2, ("C", "d"), ("C", "c", "d"), occurring=[1, 2]).columns == (ABSENT, 0, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.float16, np.float32])
def test_an_absent_class_never_ranks_first_whatever_the_type(dtype):
    scores = np.array([[3, 20], [120, 7]], dtype)
    arranged = ClassMap((0, ABSENT, 1)).arranged(scores, "scores", "m")
    assert arranged.argmax(axis=1).tolist() == [2, 0]
    np.testing.assert_array_equal(arranged[:, [0, 2]], scores)
    assert (arranged[:, 1] < scores.min(axis=1)).all()
