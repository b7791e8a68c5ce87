"""What is wrong in a recipe is told before anything is trained."""

import numpy as np
import pytest

from kdbench.data.dataset import Dataset, Split
from kdbench.errors import InputError
from kdbench.recipe.loading import recipe_from
from kdbench.workflows.stages.train import check
from kdbench.workflows.study import run_data
from kdbench.workflows.study.plan import plan


@pytest.fixture
def checked(monkeypatch):
    labels = np.arange(60, dtype=np.int64) % 3
    images = np.zeros((60, 1, 8, 8), np.uint8)
    dataset = Dataset("blank", ("a", "b", "c"), Split(images, labels), Split(images, labels), (0.5,), (0.5,), "made up")
    monkeypatch.setattr(run_data.data, "load", lambda *_, **__: dataset)

    def run(*students, **keys):
        model = {"name": "convnet", "widths": [4]}
        recipe = recipe_from(
            {
                "name": "tiny",
                "data": {"name": "blank"},
                "teacher": {"name": "t", "model": model},
                "student": [{"name": "s", "model": model, **student} for student in students],
                **keys,
            }
        )
        check(plan(recipe), run_data.load_run_data(recipe))

    return run


KD = [{"method": "kd"}]
PARTS = {"count": 2, "features": 4}


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"terms": [{"method": "kd", "temprature": 2}]}, "unknown option 'temprature'"),
        ({"terms": [{"method": "kd", "temprature": 2}], "seed_offset": 1}, "unknown option 'temprature'"),
        ({"start": {"share": 0.5}, "model": {"name": "convnet", "widths": [6]}}, "need the same shape"),
        ({"data": {"subset": {"random": 500}}}, "there are 54"),
        ({"data": {"label_noise": {"count": 500}}}, "there are 54"),
        ({"training": {"freeze": ["blocs.0"]}}, "s: training.freeze: 'blocs.0'"),
        ({"training": {"freeze": "*"}}, "no parameter"),
        ({"training": {"optimizer": {"layers": {"hed": 2}}}}, "s: training.optimizer.layers: 'hed'"),
        ({"terms": KD, "cache": "on", "data": {"augment": "mixup"}}, "has not seen before"),
    ],
)
def test_a_mistake_is_found(checked, student, message):
    with pytest.raises(InputError, match=message):
        checked(student)
    with pytest.raises(InputError, match=message):
        checked({**student, "seed_offset": student.get("seed_offset", 0)}, seeds=[3, 4])


@pytest.mark.parametrize(
    "student",
    [
        {"terms": KD, "cache": "on", "sub_students": PARTS},
        {"start": {"share": 0.5}},
        {"start": {"share": 0.5}, "quantize": {}},
    ],
)
def test_what_goes_together_passes(checked, student):
    checked(student)
