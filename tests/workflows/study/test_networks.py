import random

import numpy as np
import pytest
import torch
from torch import nn

from kdbench.data.dataset import Dataset, Split
from kdbench.distill.objective import ScheduledTerm
from kdbench.errors import InputError
from kdbench.recipe import Model, Student, Teacher, Training
from kdbench.workflows.study import networks
from kdbench.workflows.study.teachers import is_cached


class MethodStub(nn.Module):
    """The attributes of a method that decide about the cache."""

    def __init__(self, *, needs_teacher=True, teacher_layers=()):
        super().__init__()
        self.needs_teacher, self.teacher_layers = needs_teacher, teacher_layers


def decide(*, cache="auto", augment=None, epochs=20, terms=None, **training):
    entry = Student.model_validate({"name": "s", "model": "m", "cache": cache, "data": {"augment": augment or {}}})
    terms = [ScheduledTerm(MethodStub())] if terms is None else terms
    return is_cached(entry, terms, Training.model_validate({"epochs": epochs, **training}))


BANK = {"pad": 4, "flip": True, "views": 8}


def test_logits_are_cached_where_that_is_exact_and_saves_work():
    assert decide()
    assert decide(augment={"flip": True})
    assert decide(augment=BANK)
    assert decide(augment={**BANK, "mixup": 1.0})


@pytest.mark.parametrize(
    "case",
    [
        {"augment": BANK, "epochs": 7},
        {"augment": BANK, "stop_at": 7},
        {"augment": BANK, "terms": [ScheduledTerm(MethodStub(), until_epoch=7)]},
        {"terms": []},
        {"cache": "off"},
    ],
)
def test_otherwise_the_teacher_runs_at_every_step(case):
    assert not decide(**case)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ({"augment": {"mixup": 1.0}}, "new images in every step"),
        ({"augment": {"cutmix": 1.0}}, "new images in every step"),
        ({"augment": {**BANK, "mixup": 1.0, "transform": "own:jitter"}}, "its transform"),
        ({"augment": {"pad": 4}}, "81 views"),
        ({"terms": [ScheduledTerm(MethodStub(teacher_layers=("blocks.1",)))]}, "only logits are cached"),
        ({"terms": [ScheduledTerm(MethodStub(needs_teacher=False))]}, "no term needs"),
    ],
)
def test_cached_logits_are_refused_where_they_would_be_wrong(case, reason):
    assert not decide(**case)
    with pytest.raises(InputError, match=reason):
        decide(cache="on", **case)


def test_logits_are_cached_on_demand_even_where_that_is_more_work():
    assert decide(cache="on", augment=BANK, epochs=2)


def test_a_teacher_has_no_cache():
    assert not is_cached(Teacher.model_validate({"name": "t", "model": "m"}), [], Training())


def lazy(num_classes):
    return nn.Sequential(
        nn.Flatten(), nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.Dropout(0.5), nn.LazyLinear(num_classes)
    )


def test_layers_that_find_their_sizes_in_a_first_forward_are_built_whole():
    split = Split(np.zeros((4, 1, 3, 3), dtype=np.uint8), np.arange(4) % 2)
    dataset = Dataset("tiny", ("a", "b"), split, None, (0.0,), (1.0,), "made here")
    one, other = (networks._build(Model(name=f"{__name__}:lazy"), 7, dataset, (1, 3, 3), 2) for _ in range(2))
    assert one[1].weight.shape == (5, 9)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    assert one[2].num_batches_tracked == 0
    assert all(module.training for module in one.modules())


def test_weights_that_user_code_draws_from_other_generators_depend_on_the_seed(monkeypatch):
    def build(*_, **_options):
        network = nn.Linear(4, 2)
        network.weight.data = torch.tensor(np.random.randn(2, 4) * random.random())  # noqa: NPY002
        return network

    monkeypatch.setattr(networks.models, "build", build)
    split = Split(np.zeros((4, 4), dtype=np.float32), np.arange(4) % 2)
    dataset = Dataset("tiny", ("a", "b"), split, None, (0.0,) * 4, (1.0,) * 4, "made here")
    weights = [networks._build(Model(name="own"), seed, dataset, (4,), 2).weight for seed in (7, 7, 8)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
