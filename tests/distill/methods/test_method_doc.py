"""The method that docs/distillation.md writes."""

import re
from pathlib import Path

import pytest
import torch
from distill.networks import context, tiny

from kdbench.distill.method import MethodContext, Step, TeacherOutput
from kdbench.distill.methods import METHODS
from kdbench.errors import InputError
from kdbench.registry import Registry

TEXT = (Path(__file__).parents[3] / "docs" / "distillation.md").read_text()
SECTION = TEXT.partition("## Writing a method\n")[2]


@pytest.fixture
def method():
    (block,) = re.findall(r"^```python\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)
    exec(compile(block, "mine.py", "exec"), {"__name__": "mine"})
    yield METHODS.get("scaled")
    Registry.forget("mine")


def test_its_loss_and_the_gradient_of_its_parameter(method):
    made = method.from_recipe("scaled", {"weight": 2.0}, context(tiny(), tiny(1)))
    student, teacher = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[0.0, 4.0, 3.0]])
    index = torch.zeros(1, dtype=torch.long)
    step = Step(torch.zeros(1, 1, 8, 8), index, index, index, 0, student, {}, (TeacherOutput(teacher),))
    loss = made(step)
    loss.backward()
    assert loss.item() == pytest.approx(2 * (1 + 4 + 9) / 3)
    assert made.scale.grad.tolist() == pytest.approx([2 * 2 * 1 / 3, 2 * 2 * -2 * 2 / 3, 0.0])


def test_its_options_are_keys_of_a_recipe(method):
    with pytest.raises(InputError, match="weigth"):
        method.from_recipe("scaled", {"weigth": 2.0}, context(tiny(), tiny(1)))


def test_every_name_of_a_step_and_a_context_exists():
    text = SECTION.partition("\n| attribute |")[0]
    of_step = set(re.findall(r"`(?:step\.)?(\w+)`", text.partition("A `Step` has")[2].partition("`formula()`")[0]))
    of_context = set(re.findall(r"`(\w+)`", text.partition("is a `MethodContext`:")[2].partition("A `Step`")[0]))
    assert of_step <= {*Step.__dataclass_fields__, *dir(Step), *TeacherOutput.__dataclass_fields__}
    assert of_context <= {*MethodContext.__dataclass_fields__}
    assert len(of_step) >= 9
    assert len(of_context) >= 5
