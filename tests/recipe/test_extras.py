"""The extras that a recipe needs."""

import pytest

from kdbench.recipe.extras import extras_of
from kdbench.recipe.loading import recipe_from

STUDENT = {"name": "student", "model": "64-8-10"}


@pytest.mark.parametrize(
    ("more", "extras"),
    [
        ({}, ["train"]),
        ({"student": [{"name": "student", "prune": {"macs": 0.5}}]}, ["train", "prune"]),
        ({"student": [{**STUDENT, "model": "timm/resnet18"}]}, ["train", "timm"]),
        ({"track": ["wandb", "ours"]}, ["train", "wandb"]),
        ({"measure": {"runtime": ["torch", "onnxruntime", "litert"]}}, ["train", "train", "litert"]),
    ],
)
def test_what_a_recipe_names_is_needed(more, extras):
    recipe = recipe_from(
        {"name": "x", "data": {"name": "digits"}, "teacher": [{"name": "teacher", "model": "64-16-10"}], **more}
    )
    assert [*extras_of(recipe)] == extras
    without = [*extras_of(recipe, measures=False)]
    assert without == (extras[:1] if "measure" in more else extras)
