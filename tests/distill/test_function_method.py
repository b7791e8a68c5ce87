"""A plain function as a method: what it gets of a step, and its options."""

import pytest
import torch
from torch import nn

from kdbench.distill.function_method import method_of
from kdbench.distill.method import Method, MethodContext, Step, TeacherOutput
from kdbench.distill.methods import METHODS
from kdbench.errors import InputError

NETWORK = nn.Linear(4, 3)
CONTEXT = MethodContext(
    NETWORK, (NETWORK,), torch.zeros(2, 4), torch.zeros(5, dtype=torch.int64), 3, lambda *_: NETWORK
)
STEP = Step(
    inputs=torch.ones(2, 4),
    labels=torch.tensor([0, 2]),
    index=torch.tensor([7, 9]),
    position=torch.tensor([0, 1]),
    epoch=3,
    student_logits=torch.full((2, 3), 2.0),
    teacher_outputs=(TeacherOutput(torch.full((2, 3), 5.0)),),
)


def difference(student_logits, teacher_logits, weight=1.0):
    return weight * (teacher_logits - student_logits).mean()


def by_number(index, epoch, student_logits):
    return (index.sum() + epoch) * student_logits.mean()


def whole(step):
    return step.teacher_logits.sum()


@pytest.mark.parametrize(
    ("function", "options", "loss", "needs_teacher"),
    [
        (difference, {}, 3.0, True),
        (difference, {"weight": 0.5}, 1.5, True),
        (by_number, {}, (16 + 3) * 2.0, False),
        (whole, {}, 30.0, True),
    ],
)
def test_a_function_gets_what_it_names_of_a_step(function, options, loss, needs_teacher):
    method = method_of(function, "mine:f")
    assert method.needs_teacher is needs_teacher
    assert float(method.from_recipe("mine:f", options, CONTEXT)(STEP)) == loss


def test_its_formula_names_it_and_its_options():
    method = method_of(difference, "mine:f").from_recipe("mine:f", {"weight": 2}, CONTEXT)
    assert method.formula() == "difference(weight 2)"


def test_an_unknown_option_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="unknown option 'wieght'") as caught:
        method_of(difference, "mine:f").from_recipe("mine:f", {"wieght": 2}, CONTEXT)
    assert caught.value.hint == "did you mean 'weight'?"


@pytest.mark.parametrize("function", [lambda logits: logits, lambda student_logits, needed: needed, lambda: 0])
def test_a_function_that_nobody_can_call_is_refused(function):
    with pytest.raises(InputError, match="method 'mine:f'") as caught:
        method_of(function, "mine:f")
    assert "student_logits" in caught.value.hint


def test_a_function_that_is_registered_is_a_method(monkeypatch):
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    monkeypatch.setattr(METHODS, "_origins", dict(METHODS._origins))
    assert METHODS.register("my-difference")(difference) is difference
    assert issubclass(METHODS.get("my-difference"), Method)
    assert dict(METHODS)["my-difference"].needs_teacher
