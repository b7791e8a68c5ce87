"""Which students have a closed form: linear ones, of squared errors for the whole of an unchanged training."""

import pytest

from kdbench.recipe.loading import recipe_from
from kdbench.workflows.study.closed_form import teachers_share
from kdbench.workflows.study.plan import plan

MSE = {"method": "mse", "mse_weight": 0.3}


def share(**student):
    content = {
        "name": "tiny",
        "data": {"name": "noisy_linear"},
        "teacher": [{"name": "t", "model": "linear"}],
        "student": [{"name": "s", "model": "linear", **student}],
    }
    return teachers_share(plan(recipe_from(content))[-1])


@pytest.mark.parametrize(
    ("student", "expected"),
    [
        ({}, 0),
        ({"terms": [MSE], "ce_weight": 0.1}, 0.75),
        ({"terms": [MSE]}, 0.3 / 0.8),
        ({"terms": [MSE], "ce_weight": 0}, 1),
        ({"terms": [{**MSE, "mse_weight": 0}], "ce_weight": 1}, 0),
    ],
)
def test_the_teachers_share_is_that_of_its_weight(student, expected):
    assert share(**student) == pytest.approx(expected)


@pytest.mark.parametrize(
    "student",
    [
        {"model": "20-5-1"},
        {"terms": [MSE, MSE]},
        {"terms": [{"method": "hint"}]},
        {"terms": [{**MSE, "until_epoch": 3}]},
        {"training": {"optimizer": {"weight_decay": 0.1}}},
        {"training": {"freeze": ["head"]}},
        {"quantize": {}},
        {"data": {"augment": {"transform": "torch:flip"}}},
    ],
    ids=["two layers", "two terms", "features", "some epochs", "decay", "frozen", "quantized", "transform"],
)
def test_what_has_another_minimum_has_no_closed_form(student):
    assert share(**student) is None
