import json

from kdbench.recipe.loading import recipe_from
from kdbench.workflows.stages.tracking import parameters_of
from kdbench.workflows.study.plan import plan


def test_parameters_are_the_keys_of_an_entry_that_are_set():
    content = {
        "name": "r",
        "data": {"name": "digits"},
        "training": {"ema": 0.9},
        "teacher": {"name": "t", "model": "dense"},
        "student": {
            "name": "s",
            "model": {"name": "convnet", "widths": [4, 8]},
            "terms": {"method": "kd"},
            "training": {"optimizer": {"layers": {"head": 2}}},
        },
        "track": "tensorboard",
    }
    recipe = recipe_from(content)
    assert recipe.track == ("tensorboard",)
    assert recipe.hash() == recipe_from({**content, "track": []}).hash()
    parameters = parameters_of(plan(recipe)[-1], recipe)
    expected = {
        "seed": 0,
        "data.name": "digits",
        "model.name": "convnet",
        "model.widths": "[4, 8]",
        "training.ema.decay": 0.9,
        "training.optimizer.layers.head": 2.0,
        "training.optimizer.lr": 0.05,
    }
    assert expected.items() <= parameters.items()
    assert "training.clip" not in parameters
    assert json.loads(parameters["terms"])[0]["method"] == "kd"
