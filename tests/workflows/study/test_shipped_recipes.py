"""Every shipped recipe on blank images of its size, or on computed data: networks, losses, subsets and cuts fit."""

import numpy as np
import pytest

from kdbench import data
from kdbench.data.dataset import Dataset, Split
from kdbench.recipe.loading import load_recipe, shipped_recipes
from kdbench.workflows.stages.check import check
from kdbench.workflows.study import run_data
from kdbench.workflows.study.checks import networks as network_checks
from kdbench.workflows.study.plan import plan

SIZES = {
    "digits": (1438, (1, 8, 8), 10),
    "mnist": (60_000, (1, 28, 28), 10),
    "cifar10": (50_000, (3, 32, 32), 10),
    "cifar100": (50_000, (3, 32, 32), 100),
}


def blank(name: str) -> Dataset:
    count, shape, classes = SIZES[name]
    labels = np.arange(count, dtype=np.int64) % classes
    test = Split(np.zeros((classes, *shape), np.uint8), np.arange(classes))
    return Dataset(
        name=name,
        class_names=tuple(map(str, range(classes))),
        train=Split(np.zeros((count, *shape), np.uint8), labels),
        test=test,
        mean=(0.5,) * shape[0],
        std=(0.5,) * shape[0],
        source="made up",
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_whatever_it_names_can_be_built(name, monkeypatch):
    recipe = load_recipe(name)
    computed = data.load
    monkeypatch.setattr(network_checks, "_require_export", lambda *_: None)  # tests/macs exports them all, smaller
    monkeypatch.setattr(
        run_data.data, "load", lambda wanted, **_: blank(wanted) if wanted in SIZES else computed(wanted)
    )
    # The images are blank: what hashes them would take half of the time.
    monkeypatch.setattr(run_data, "_hash", lambda images, *_: str(images.shape))
    check(plan(recipe), run_data.load_run_data(recipe))
