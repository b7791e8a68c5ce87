"""Ranges, and a sweep whose points a search chooses."""

import pytest

from kdbench.errors import InputError
from kdbench.recipe.loading import load_sweep
from kdbench.recipe.sweeps.search import Range, range_of, space_size
from kdbench.recipe.sweeps.sweep import axes_of

CONTENT = {
    "name": "g",
    "data": {"name": "digits"},
    "teacher": [{"name": "teacher", "model": "dense"}],
    "student": [{"name": "kd", "model": "dense", "terms": [{"method": "kd"}]}],
}
GOAL = {"goal": "max top1"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1..10", Range(low=1, high=10)),
        ("1e-4..1e-1 log", Range(low=1e-4, high=1e-1, log=True)),
        ("1e-4..1e-1:log", Range(low=1e-4, high=1e-1, log=True)),
        ("0..1 step 0.1", Range(low=0, high=1, step=0.1)),
        ("-1.5..2", Range(low=-1.5, high=2)),
        ("a/../b", None),
        ("1,2", None),
        ("../x.onnx", None),
    ],
)
def test_a_range_is_typed(text, expected):
    assert range_of(text) == expected


@pytest.mark.parametrize("text", ["10..1", "0..1 log", "1..2 step 5", "1..2..3", "1..10 lg", "1..10 steps 2"])
def test_an_impossible_range_is_refused(text):
    with pytest.raises(InputError, match="range"):
        range_of(text)


def test_values_are_written_short_and_stay_inside():
    rate = Range(low=1e-4, high=0.12345, log=True)
    assert rate.rounded(0.00123456) == 0.001235
    assert rate.rounded(0.123449) == 0.1234
    assert rate.rounded(1e-4 * (1 - 1e-9)) == 1e-4
    assert Range(low=0.12352, high=1.0).rounded(0.123521) == 0.12352
    assert Range(low=1, high=8).rounded(3) == 3


def test_a_space_is_counted_where_it_can_be():
    assert space_size({"a": (1, 2, 3), "b": Range(low=1, high=10, step=3), "c": Range(low=0, high=1, step=0.25)}) == 60
    assert space_size({"a": (1, 2), "b": Range(low=0.0, high=1.0)}) is None


def test_points_have_the_same_names_whichever_others_there_are():
    axes = axes_of(["terms.0.temperature=1.0..10", "training.epochs=2,4"])
    swept = load_sweep(CONTENT, axes, search=GOAL)
    assert len(swept.points) == 3, "the first values, and each other end of one axis"
    one = {"terms.0.temperature": 2.5, "training.epochs": 4}
    other = {"terms.0.temperature": 7.0, "training.epochs": 2}
    alone = swept.at([one]).points
    assert alone[0].models == ("teacher-epochs4", "kd-temperature2_5-epochs4")
    assert alone[0].entries == ("teacher", "kd")
    assert swept.at([other, one]).points[1] == alone[0]


def test_many_axes_make_a_name_that_is_short_enough_and_its_own():
    keys = ["lr", "weight_decay", "momentum", "beta1", "beta2"]
    axes = {f"student.kd.training.optimizer.{key}": [0.123456789, 0.2] for key in keys[:2]}
    axes["student.kd.terms.0.temperature"] = [1.2345678912345, 2]
    axes["student.kd.ce_weight"] = [0.1234567891234, 0.2]
    names = {point.models[-1] for point in load_sweep(CONTENT, axes).points}
    assert len(names) == 16
    assert max(map(len, names)) == 80


@pytest.mark.parametrize(
    ("axes", "search", "words"),
    [
        (["terms.0.temperature=1..10"], None, "only a search can use"),
        ([], GOAL, "a search needs axes"),
        (["terms.0.temperature=1..10"], {"goal": "max topp1"}, "unknown metric"),
        (["terms.0.temperature=1..10"], {"goal": "max top1", "trials": 0}, "trials"),
        (["terms.0.temperature=1..10"], {"trials": 5}, "goal"),
    ],
)
def test_what_cannot_be_searched_is_refused(axes, search, words):
    with pytest.raises(InputError, match=words):
        load_sweep(CONTENT, axes_of(axes), search=search)


def test_a_search_without_a_goal_is_told_how_to_give_one():
    with pytest.raises(InputError) as error:
        load_sweep(CONTENT, axes_of(["terms.0.temperature=1..10"]), search={"trials": 5})
    assert "--goal" in error.value.hint
