"""What is wrong in a recipe is told before anything is trained."""

import numpy as np
import pytest
from torch import nn

from kdbench.data.dataset import Dataset, Split
from kdbench.errors import InputError
from kdbench.recipe.loading import recipe_from
from kdbench.workflows.stages.check import check
from kdbench.workflows.study import networks, run_data
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


def test_one_class_is_nothing_to_learn(monkeypatch):
    images, labels = np.zeros((60, 1, 8, 8), np.uint8), np.zeros(60, np.int64)
    dataset = Dataset("blank", ("a",), Split(images, labels), Split(images, labels), (0.5,), (0.5,), "made up")
    monkeypatch.setattr(run_data.data, "load", lambda *_, **__: dataset)
    content = {"name": "tiny", "data": {"name": "blank"}, "teacher": {"name": "t", "model": "linear"}, "student": []}
    with pytest.raises(InputError, match="'blank' has only one class"):
        run_data.load_run_data(recipe_from(content))


KD = [{"method": "kd"}]
PARTS = {"count": 2, "features": 4}


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"terms": [{"method": "kd", "temprature": 2}]}, "student 's': .*unknown option 'temprature'"),
        ({"terms": [{"method": "hint", "student_layer": "blocs.0"}]}, "student 's': .* no layer 'blocs.0'"),
        ({"terms": [{"method": "kd", "temprature": 2}], "seed_offset": 1}, "unknown option 'temprature'"),
        ({"start": {"share": 0.5}, "model": {"name": "convnet", "widths": [6]}}, "student 's': .* need the same shape"),
        ({"data": {"subset": {"random": 500}}}, "there are 54"),
        ({"data": {"label_noise": {"count": 500}}}, "there are 54"),
        ({"training": {"freeze": ["blocs.0"]}}, "s: training.freeze: 'blocs.0'"),
        ({"training": {"freeze": "*"}}, "no parameter"),
        ({"training": {"optimizer": {"layers": {"hed": 2}}}}, "s: training.optimizer.layers: 'hed'"),
        ({"terms": KD, "cache": "on", "data": {"augment": "mixup"}}, "new images in every step"),
    ],
)
def test_a_mistake_is_found(checked, student, message):
    with pytest.raises(InputError, match=message):
        checked(student)
    with pytest.raises(InputError, match=message):
        checked({**student, "seed_offset": student.get("seed_offset", 0)}, seeds=[3, 4])


RELATIONS = {"model": {"name": "convnet", "widths": [4]}, "terms": [{"method": "relational"}]}


@pytest.mark.parametrize(
    ("student", "message", "hint"),
    [
        ({"training": {"batch": 1}}, "one sample at a time: ValueError", "training.batch of s"),
        ({"data": {"subset": {"random": 1}}}, "one sample at a time: ValueError", "more samples"),
        ({"data": {"subset": {"random": 2}}, **RELATIONS}, "at least 3, but there are only 2", "more samples"),
    ],
)
def test_batches_that_are_too_small_are_found(checked, student, message, hint):
    """Batch norm of vectors has no variance for one sample."""
    with pytest.raises(InputError, match=message) as caught:
        checked({"model": {"name": f"{__name__}:normed"}, **student})
    assert hint in caught.value.hint
    checked({"training": {"batch": 1}, "model": {"name": "dense", "hidden": [4]}})


def normed(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4), nn.Linear(4, num_classes))


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


HINT = {"method": "hint", "student_layer": "blocks.0", "teacher_layer": "blocks.0"}


@pytest.mark.parametrize(
    "term",
    [
        HINT,
        {**HINT, "method": "relational"},
        {**HINT, "method": "contrastive", "negatives": 4},
        {"method": "attention", "student_layers": ["blocks.0"], "teacher_layers": ["blocks.0"]},
    ],
)
def test_a_term_on_a_frozen_layer_is_found(checked, term):
    """It would only train its own regressor. Equal networks, which are built once, are frozen for one student alone."""
    frozen = {"name": "frozen", "terms": [term], "training": {"freeze": ["blocks.0"]}}
    with pytest.raises(InputError, match=r"layer 'blocks\.0' of Staged has no gradient") as caught:
        checked({"terms": [term]}, frozen)
    assert "freeze fewer modules" in caught.value.hint
    checked({"name": "kd", "terms": KD, "training": {"freeze": ["blocks.0"]}}, {"terms": [term]})
    checked({"terms": [term], "training": {"freeze": ["head"]}})


def test_a_term_on_a_layer_in_front_of_all_weights_is_found(checked):
    """The stem of a convnet returns the images."""
    with pytest.raises(InputError, match="layer 'stem' of Staged has no gradient"):
        checked({"terms": [{**HINT, "student_layer": "stem"}]})
    checked({"terms": [{**HINT, "student_layer": "blocks.0.2"}]})  # a ReLU behind weights


def test_points_of_a_sweep_that_no_check_tells_apart_are_tried_once(checked, monkeypatch):
    built = []
    fresh = networks.fresh
    monkeypatch.setattr(networks, "fresh", lambda job, data: built.append(job.entry.axes) or fresh(job, data))
    rates = {"sweep": {"training.optimizer.lr": [0.01, 0.02, 0.03], "training.schedule.warmup": [0, 1, 2]}}
    checked({"terms": KD, **rates})
    assert len(built) == 3  # the teacher, alone and for its students, and one student
    del built[:]
    checked({"terms": KD, "sweep": {"terms.0.temperature": [1.0, 2.0, 3.0]}}, {"name": "other", "seed_offset": 1})
    assert len(built) == 3  # equal networks are built once, for any training


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("terms.0.temperature", [1.0, 2.0, -1.0], "student 's-.*': .*temperature"),
        ("training.batch", [64, 32, 1], "s-.* compares the samples of a batch"),
        ("training.freeze", [[], ["blocs.0"]], "blocs.0"),
        ("model.widths", [[4], [6]], "need the same shape"),
        ("cache", ["auto", "on"], "no term needs a teacher"),
    ],
)
def test_a_mistake_at_the_last_point_of_a_sweep_is_found(checked, key, values, message):
    more = {
        "training.batch": {"terms": [{"method": "relational"}]},
        "model.widths": {"start": {"share": 0.5}},
        "cache": {"terms": []},
    }
    with pytest.raises(InputError, match=message):
        checked({"terms": KD, **more.get(key, {}), "sweep": {key: values}})
