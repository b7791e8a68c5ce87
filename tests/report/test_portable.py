import tomllib

import pytest
import tomli_w

from kdbench.recipe.loading import recipe_from
from kdbench.report.cells import portable
from kdbench.report.render import portable_recipe


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("kdbench bench /home/a/models/x.onnx --out /tmp/r-1", "kdbench bench x.onnx --out r-1"),
        ("cannot read '/home/a b'", "cannot read 'a b'"),
        (r"kdbench bench C:\Users\a\x.onnx", "kdbench bench x.onnx"),
        ("pets on folder:/home/a/pets", "pets on folder:pets"),
        ("--out=/root/runs/", "--out=runs"),
        ("/sys/class/powercap is empty", "/sys/class/powercap is empty"),
        ("see https://github.com/a/b/c", "see https://github.com/a/b/c"),
        ("runs/digits at 12 images/s, ~/data/x", "runs/digits at 12 images/s, ~/data/x"),
        ("teacher / student", "teacher / student"),
    ],
)
def test_absolute_paths_are_shortened_and_nothing_else(text: str, shown: str) -> None:
    assert portable(text) == shown


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
