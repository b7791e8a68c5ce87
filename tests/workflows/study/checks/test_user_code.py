"""User methods and transforms are tried before anything trains."""

import numpy as np
import pytest
import torch
from torch import nn

from kdbench.data import DATASETS
from kdbench.data.transforms import TRANSFORMS
from kdbench.distill.function_method import method_of
from kdbench.distill.method import Method
from kdbench.distill.methods import METHODS
from kdbench.errors import InputError
from kdbench.recipe.loading import recipe_from
from kdbench.workflows.stages.check import check
from kdbench.workflows.study.plan import plan
from kdbench.workflows.study.run_data import load_run_data

IMAGES = np.zeros((40, 1, 6, 6), np.uint8)
LABELS = np.arange(40) % 2
NOISE = np.random.default_rng(0)


class Late(Method):
    """Makes a layer in its first step, too late for any optimiser."""

    def forward(self, step):
        if not hasattr(self, "layer"):
            self.layer = nn.Linear(2, 2)
        return self.layer(step.student_logits).mean()


class Counting(Method):
    """Counts its steps in a buffer, or as a plain number, which a resumed training does not have."""

    def __init__(self, options, context):
        super().__init__(options, context)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, step):
        self.steps += 1
        return self.steps * step.student_logits.square().mean()


class PlainCounting(Counting):
    def __init__(self, options, context):
        super().__init__(options, context)
        del self.steps
        self.steps = 0


CLASSES = {"late": Late, "counting": Counting, "plain_counting": PlainCounting}
FUNCTIONS = {
    "right": lambda student_logits, teacher_logits: (student_logits - teacher_logits).square().mean(),
    "rows": lambda student_logits: student_logits.mean(dim=1),
    "number": lambda student_logits: 3.0,
    "detached": lambda student_logits: student_logits.detach().mean(),
    "noisy": lambda student_logits: (student_logits + float(NOISE.random())).square().mean(),
    "overwriting": lambda student_logits, teacher_logits: student_logits.sub_(teacher_logits).square().mean(),
    "overwriting_teacher": lambda student_logits, teacher_logits: teacher_logits.sub_(student_logits).square().mean(),
    "overwriting_labels": lambda student_logits, labels: student_logits[:, labels.mul_(0)].mean(),
    "overwriting_inputs": lambda student_logits, inputs: (student_logits + inputs.neg_().mean()).mean(),
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
    for name, method in CLASSES.items():
        METHODS.register(name)(method)
    DATASETS.register("blank")(lambda: (IMAGES, LABELS, IMAGES, LABELS))
    TRANSFORMS.register("smaller")(lambda inputs: inputs[..., 1:])
    TRANSFORMS.register("noisy")(lambda inputs: inputs + int(NOISE.integers(1, 9)))
    TRANSFORMS.register("jitter")(lambda inputs: inputs + torch.randint_like(inputs, 9))
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
        ("noisy", "another loss for the same batch"),
        ("plain_counting", "another loss for the same batch"),
        ("late", "creates 'layer.bias' in its first step"),
        ("overwriting", "changes student_logits in place"),
        ("overwriting_teacher", "changes teacher_logits in place"),
        ("overwriting_labels", "changes labels in place"),
        ("overwriting_inputs", "changes inputs in place"),
    ],
)
def test_a_method_that_does_not_is_refused(method, message):
    with pytest.raises(InputError, match=message) as caught:
        checked(method)
    assert caught.value.hint


def test_a_method_may_remember_what_is_saved_with_it():
    checked("counting")


def test_random_numbers_of_a_transform_can_be_repeated():
    checked(transform="jitter")
    with pytest.raises(InputError, match="transform 'noisy' of 't' changes the same batch differently each time"):
        checked(transform="noisy")


def test_a_transform_that_changes_the_shape_is_refused():
    with pytest.raises(InputError, match="transform 'smaller' returns"):
        checked(transform="smaller")
