"""The numbers that a study reports, as a recipe states them."""

import pytest

from kdbench.errors import InputError
from kdbench.recipe import Recipe, Reported
from kdbench.recipe.loading import recipe_of

RECIPE = {
    "name": "r",
    "data": {"name": "digits"},
    "teacher": [{"name": "t", "model": "linear"}],
    "student": [{"name": "s{ce_weight}", "model": "linear", "sweep": {"ce_weight": [0.1, 0.5]}}],
    "variant": [{"of": "t", "method": "fp16"}],
}


def recipe(**entry) -> Recipe:
    return recipe_of({**RECIPE, "reported": [{"model": "t", "metric": "top1", "value": 0.9, **entry}]})


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ({"value": "93.1 %"}, 0.931),
        ({"value": 0.931}, 0.931),
        ({"metric": "latency_p50_ns", "value": "2 ms"}, 2e6),
        ({"metric": "latency_ratio", "model": "s0_1", "value": "11.6×"}, 11.6),
        ({"metric": "macs", "value": "153.3 M"}, 153.3e6),
        ({"model": "s0_1", "minus": "t", "value": "-1.5 points"}, -1.5),
        ({"metric": "loss", "model": "s0_1", "minus": "t", "value": "0.25"}, 0.25),
    ],
)
def test_a_value_may_have_a_unit(entry, value):
    assert recipe(**entry).reported[0].value == pytest.approx(value)


@pytest.mark.parametrize("model", ["t", "s0_5", "t-fp16"])
def test_models_are_those_of_the_recipe(model):
    assert recipe(model=model).reported[0].model == model


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"model": "s"}, "'s'"),
        ({"minus": "gone"}, "'gone'"),
        ({"minus": "t"}, "minus"),
        ({"metric": "topp1"}, "topp1"),
        ({"value": "93 ms"}, "ms"),
        ({"value": float("nan")}, "value"),
        ({"value": None}, "value"),
        ({"sources": "x"}, "sources"),
    ],
)
def test_what_is_wrong_is_named(entry, named):
    with pytest.raises(InputError, match=named):
        recipe(**entry)


def test_a_study_s_numbers_do_not_change_what_is_trained():
    assert recipe(value=0.5).hash() == recipe_of(RECIPE).hash()
    assert recipe(value=0.5).resolved()["reported"][0] == Reported(model="t", metric="top1", value=0.5).model_dump()
