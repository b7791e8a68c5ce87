"""A recipe as a report shows it."""

import tomllib

import tomli_w

from kdbench.recipe.loading import recipe_from
from kdbench.report.render import portable_recipe


def test_recipe_survives_a_toml_round_trip() -> None:
    content = {
        "name": "mine",
        "data": {"name": "digits", "root": "/home/a/data"},
        "training": {"epochs": 3, "optimizer": {"lr": 0.1}},
        "teacher": [
            {
                "name": "big",
                "model": {"name": "mlp", "widths": [64]},
                "training": {"epochs": 5, "optimizer": {"weight_decay": 0.01}},
            }
        ],
        "student": [{"name": "small", "model": "mlp", "terms": [{"method": "kd", "temperature": 4.0}]}],
    }
    recipe = recipe_from(content)
    shown = portable_recipe(recipe.resolved())
    assert shown["teacher"][0]["training"] == {"epochs": 5, "optimizer": {"weight_decay": 0.01}}
    assert "training" not in shown["student"][0]
    text = tomli_w.dumps(shown)
    assert recipe_from(tomllib.loads(text)).hash() == recipe.hash()
    assert "/home" not in text


def test_a_data_folder_is_named_without_its_place() -> None:
    folder = recipe_from(
        {"name": "mine", "data": {"name": "folder:/home/a/images"}, "teacher": [{"name": "big", "model": "mlp"}]}
    )
    assert portable_recipe(folder.resolved())["data"]["name"] == "folder:images"
