"""What a seed decides in the trainings of a recipe: weights, regressors, the order of the samples, dropout."""

import random
from itertools import chain

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kdbench.data.dataset import Dataset, Split
from kdbench.distill.methods import METHODS
from kdbench.models import MODELS
from kdbench.recipe.loading import recipe_from
from kdbench.workflows.study import run_data
from kdbench.workflows.train import train

CONVNET = {"name": "convnet", "widths": [4, 4]}
HINT, PROBE = {"method": "hint", "hint_weight": 1.0}, {"method": "probe"}


@pytest.fixture
def seen(monkeypatch):
    """The samples of each step that `probe` saw, in order; data, a method and a network with dropout for a recipe."""
    rng = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.int64) % 3
    part = Split(rng.integers(0, 255, (60, 1, 8, 8)).astype(np.uint8), labels)
    made = Dataset("noise", ("a", "b", "c"), part, part, (0.5,), (0.3,), "made up")
    monkeypatch.setattr(run_data.data, "load", lambda *_, **__: made)
    steps = []

    @METHODS.register("probe")
    def probe(student_logits, index):
        steps.append(index.tolist())
        return 0 * student_logits.sum()

    @MODELS.register("dropping")
    def dropping(num_classes):
        noise = torch.full((64,), random.random() + np.random.random())  # noqa: NPY002 - as users do
        layers = torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(64, num_classes)
        torch.nn.init.zeros_(layers[2].bias)
        layers[2].weight.data += noise
        return torch.nn.Sequential(*layers)

    yield steps
    METHODS.forget(__name__)
    MODELS.forget(__name__)


def trained(folder, *terms, seed=0, model=CONVNET):
    """Train a student after others have drawn from all generators; return its weights."""
    torch.manual_seed(sum(map(ord, str(folder))))
    random.seed(str(folder))
    np.random.seed(len(str(folder)))  # noqa: NPY002
    recipe = {
        "name": "seeds",
        "seeds": [seed],
        "data": {"name": "noise", "validation": 0.2},
        "training": {"epochs": 2, "batch": 16, "threads": 1, "keep": "last"},
        "teacher": {"name": "t", "model": CONVNET, "training": {"epochs": 1}},
        "student": [{"name": "s", "model": model, "terms": list(terms), "ce_weight": 1.0}],
    }
    path = train(recipe_from(recipe), folder) / "checkpoints" / "s" / "weights.safetensors"
    return load_file(path)


def alike(one, other) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one.keys() | other.keys())


@pytest.mark.parametrize(("terms", "model"), [((HINT,), CONVNET), ((PROBE,), "dropping")])
def test_a_seed_decides_all_bits_and_another_gives_others(terms, model, seen, tmp_path):
    """Those of a regressor and of dropout, too, regardless of earlier draws."""
    first = trained(tmp_path / "a", *terms, model=model)
    assert alike(trained(tmp_path / "bcd", *terms, model=model), first)
    assert not alike(trained(tmp_path / "e", *terms, model=model, seed=1), first)


def test_neither_terms_nor_their_order_change_the_order_of_the_samples(seen, tmp_path):
    def order(name, *terms, **options):
        seen.clear()
        trained(tmp_path / name, *terms, **options)
        return seen[-6:]  # of two epochs; the first call tries the method

    alone = order("alone", PROBE)
    assert [len(step) for step in alone] == [16, 16, 16] * 2
    epochs = [list(chain(*alone[:3])), list(chain(*alone[3:]))]
    assert sorted(epochs[0]) == sorted(epochs[1])
    assert epochs[0] != epochs[1]
    assert order("before", PROBE, HINT) == alone
    assert order("after", HINT, PROBE) == alone
    assert order("seed", PROBE, seed=1) != alone


def test_the_order_of_terms_without_weights_of_their_own_changes_no_loss(seen, tmp_path):
    kd, mse = {"method": "kd"}, {"method": "mse"}
    one, other = trained(tmp_path / "one", kd, mse), trained(tmp_path / "other", mse, kd)
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-5)
