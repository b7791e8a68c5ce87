import json
from pathlib import Path

from kdbench.recipe.loading import recipe_from
from kdbench.results.records import RunRecord
from kdbench.workflows.stages.tracking import parameters_of, values_of
from kdbench.workflows.study.plan import plan

RECORD = Path(__file__).parent.parent.parent / "records" / "digits.json"


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


def test_values_are_named_by_metric_and_axes():
    record = RunRecord.read(RECORD)
    card = record.models[0].id
    measured = [m for m in record.measurements if m.model == card and m.value is not None]
    values = values_of(record, card)
    assert sorted(values.values()) == sorted(m.value for m in measured)
    assert values["top1"] == next(m.value for m in measured if m.metric == "top1" and not m.axes)
    assert any(name.startswith("latency_p50_ns/") and "threads-1" in name for name in values)
