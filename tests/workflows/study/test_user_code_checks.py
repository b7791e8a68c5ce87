"""User methods and transforms are tried before anything trains."""

import numpy as np
import pytest
import torch

from kdbench.data import DATASETS
from kdbench.data.transforms import TRANSFORMS
from kdbench.distill.function_method import method_of
from kdbench.distill.methods import METHODS
from kdbench.errors import InputError
from kdbench.recipe.loading import recipe_from
from kdbench.workflows.stages.train import check
from kdbench.workflows.study.plan import plan
from kdbench.workflows.study.run_data import load_run_data

IMAGES = np.zeros((40, 1, 6, 6), np.uint8)
LABELS = np.arange(40) % 2
FUNCTIONS = {
    "right": lambda student_logits, teacher_logits: (student_logits - teacher_logits).square().mean(),
    "rows": lambda student_logits: student_logits.mean(dim=1),
    "number": lambda student_logits: 3.0,
    "detached": lambda student_logits: student_logits.detach().mean(),
    "faulty": lambda student_logits: student_logits @ torch.ones(7),
}


def checked(method="right", transform=None):
    model = {"name": "dense", "hidden": [4]}
    recipe = recipe_from(
        {
            "name": "tiny",
            "data": {"name": "blank", "augment": {"transform": transform}},
            "teacher": {"name": "t", "model": model},
            "student": {"name": "s", "model": model, "terms": {"method": method}},
        }
    )
    return check(plan(recipe), load_run_data(recipe))


@pytest.fixture(autouse=True)
def _registered():
    for name, function in FUNCTIONS.items():
        METHODS.register(name)(method_of(function, name))
    DATASETS.register("blank")(lambda: (IMAGES, LABELS, IMAGES, LABELS))
    TRANSFORMS.register("smaller")(lambda inputs: inputs[..., 1:])
    yield
    METHODS.forget(__name__)


def test_a_method_that_works_is_recorded():
    assert [use.name for use in checked()["s"].uses] == ["right"]
    assert checked()["t"].uses == ()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("rows", "returns shape"),
        ("number", "returns float"),
        ("detached", "does not depend on the student"),
        ("faulty", "RuntimeError"),
    ],
)
def test_a_method_that_does_not_is_refused(method, message):
    with pytest.raises(InputError, match=message) as caught:
        checked(method)
    assert caught.value.hint


def test_a_transform_that_changes_the_shape_is_refused():
    with pytest.raises(InputError, match="transform 'smaller' returns"):
        checked(transform="smaller")
