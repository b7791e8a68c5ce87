import pytest

from kdbench.errors import InputError
from kdbench.judge.compare.matching import match_models
from kdbench.results.cards import ModelCard


def cards(*names, teacher="teacher"):
    def made(name):
        stem, _, seed = name.partition("@")
        return ModelCard(
            id=name.replace("@", "-seed"),
            name=stem,
            role="teacher" if stem == teacher else "student",
            seed=int(seed) if seed else None,
            file="x.onnx",
            sha256="0" * 64,
            input_shape=(1,),
            classes=2,
            parameters=1,
        )

    return [made(name) for name in names]


def ids(matched):
    return [(pair.base.id, pair.new.id) for pair in matched.pairs]


def test_models_match_by_name_and_seed():
    matched = match_models(cards("teacher@0", "a@0", "a@1", "b@0"), cards("c@0", "a@1", "teacher@0", "a@0"))
    assert ids(matched) == [("a-seed1", "a-seed1"), ("teacher-seed0", "teacher-seed0"), ("a-seed0", "a-seed0")]
    assert (matched.lost, matched.added) == (("b-seed0",), ("c-seed0",))


def test_a_missing_teacher_is_not_lost():
    matched = match_models(cards("teacher", "a"), cards("a"))
    assert (matched.lost, matched.teachers) == ((), ("teacher",))


def test_one_student_each_matches_whatever_the_names():
    assert ids(match_models(cards("teacher", "old"), cards("teacher", "fresh"))) == [
        ("teacher", "teacher"),
        ("old", "fresh"),
    ]
    assert ids(match_models(cards("teacher"), cards("other"))) == [("teacher", "other")]


def test_a_single_model_of_a_name_matches_whatever_the_seed():
    assert ids(match_models(cards("a@0", "b@0"), cards("a@3", "b@3"))) == [
        ("a-seed0", "a-seed3"),
        ("b-seed0", "b-seed3"),
    ]


def test_chosen_models_are_matched():
    base, new = cards("teacher", "a", "b"), cards("teacher", "a", "c")
    assert ids(match_models(base, new, {"b": "c"})) == [("b", "c")]
    assert ids(match_models(base, new, {"a": "a"})) == [("a", "a")]
    with pytest.raises(InputError, match="the new run has no model 'b'"):
        match_models(base, new, {"b": "b"})


def test_records_without_a_common_model_raise():
    with pytest.raises(InputError, match="no model is in both"):
        match_models(cards("a", "b"), cards("c", "d"))


@pytest.mark.parametrize("chosen", [None, {"a": "a"}])
def test_a_record_without_models_is_named(chosen):
    with pytest.raises(InputError, match="the base has no models") as refused:
        match_models([], cards("a"), chosen)
    assert "kdbench bench" in refused.value.hint
    with pytest.raises(InputError, match="the new run has no models"):
        match_models(cards("a"), [], chosen)
