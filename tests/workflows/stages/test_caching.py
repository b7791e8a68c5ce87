import pytest
from torch import nn

from kdbench.distill.objective import ScheduledTerm
from kdbench.errors import InputError
from kdbench.recipe import Student, Teacher, Training
from kdbench.workflows.stages.logit_caches import is_cached


class Taught(nn.Module):
    """What is asked of a method here."""

    def __init__(self, *, taught=True, teacher_layers=()):
        super().__init__()
        self.taught, self.teacher_layers = taught, teacher_layers


def decide(*, cache="auto", augment=None, epochs=20, terms=None, **training):
    entry = Student.model_validate({"name": "s", "model": "m", "cache": cache, "data": {"augment": augment or {}}})
    terms = [ScheduledTerm(Taught())] if terms is None else terms
    return is_cached(entry, terms, Training.model_validate({"epochs": epochs, **training}))


BANK = {"pad": 4, "flip": True, "views": 8}


def test_logits_are_kept_where_that_is_exact_and_saves_work():
    assert decide()
    assert decide(augment={"flip": True})
    assert decide(augment=BANK)


@pytest.mark.parametrize(
    "case",
    [
        {"augment": BANK, "epochs": 7},
        {"augment": BANK, "stop_at": 7},
        {"augment": BANK, "terms": [ScheduledTerm(Taught(), until_epoch=7)]},
        {"terms": []},
        {"cache": "off"},
    ],
)
def test_or_else_the_teacher_is_asked_at_every_step(case):
    assert not decide(**case)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ({"augment": {"mixup": 1.0}}, "no teacher has seen"),
        ({"augment": {"cutmix": 1.0}}, "no teacher has seen"),
        ({"augment": {"pad": 4}}, "81 views"),
        ({"terms": [ScheduledTerm(Taught(teacher_layers=("blocks.1",)))]}, "logits alone are kept"),
        ({"terms": [ScheduledTerm(Taught(taught=False))]}, "no term listens"),
    ],
)
def test_cached_logits_are_refused_where_they_would_be_wrong(case, reason):
    assert not decide(**case)
    with pytest.raises(InputError, match=reason):
        decide(cache="on", **case)


def test_cached_logits_are_kept_on_demand_even_where_that_is_more_work():
    assert decide(cache="on", augment=BANK, epochs=2)


def test_a_teacher_has_none():
    assert not is_cached(Teacher.model_validate({"name": "t", "model": "m"}), [], Training())
