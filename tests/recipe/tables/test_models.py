import pytest

from kdbench.errors import InputError
from kdbench.recipe import Augment
from kdbench.recipe.loading import recipe_from

KD = [{"method": "kd"}]


def recipe(*students):
    teachers = [{"name": "a", "model": "mlp"}, {"name": "b", "model": "mlp"}]
    return recipe_from({"name": "tiny", "data": {"name": "digits"}, "teacher": teachers, "student": list(students)})


def test_a_student_may_have_several_teachers_and_students_for_teachers():
    expanded = recipe(
        {"name": "s", "model": "mlp", "teacher": ["b", "t"], "terms": KD}, {"name": "t", "model": "mlp", "terms": KD}
    )
    assert [teacher.name for teacher in expanded.teachers_of(expanded.student[0])] == ["b", "t"]
    assert [teacher.name for teacher in expanded.teachers_of(expanded.student[1])] == ["a"]


@pytest.mark.parametrize(
    ("students", "message"),
    [
        ([{"name": "s", "teacher": "s"}], "its own teacher"),
        ([{"name": "s", "teacher": "t"}, {"name": "t", "teacher": ["a", "s"]}], "its own teacher"),
        ([{"name": "s", "teacher": ["a", "b", "a"], "terms": KD}], "names a teacher twice"),
        ([{"name": "s", "start": {"share": 0.5}, "sub_students": {}}], "leave out start or sub_students"),
        ([{"name": "s", "start": {"model": "c", "share": 0.5}}], "which the recipe does not have"),
        ([{"name": "s", "start": {"share": 1.5}}], "less than or equal to 1"),
        ([{"name": "s", "data": {"subset": {"random": 5, "half": "D0"}}}], "choose one"),
        ([{"name": "s", "data": {"label_noise": {"share": 0.5, "count": 5}}}], "share or count"),
        ([{"name": "s", "data": {"augment": "mixap"}}], "unknown level 'mixap'"),
        ([{"name": "s", "quantize": {}, "training": {"freeze": "x"}}], "leave out one of them"),
        ([{"name": "s", "training": {"ema": 1.0}}], "less than 1"),
        ([{"name": "s", "training": {"accumulate": 0}}], "greater than 0"),
        ([{"name": "s", "training": {"optimizer": {"name": "adam", "betas": [0.9, 1.0]}}}], "less than 1"),
        ([{"name": "s", "training": {"optimizer": {"layers": {"x": 0}}}}], "greater than 0"),
        ([{"name": "s", "training": {"schedule": {"name": "platau"}}}], "'plateau'"),
        ([{"name": "s", "quantize": {"weight_bits": 1}}], "greater than or equal to 2"),
        (
            [{"name": "s", "training": {"epochs": 5, "stop_at": 6}}],
            "student.0.training: stop_at = 6 lies after .* 5 epochs",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(students, message):
    with pytest.raises(InputError, match=message):
        recipe(*({"model": "mlp", **student} for student in students))


@pytest.mark.parametrize(
    "table", [{"training": {"optimizer": {"lr": 0.1}, "threads": 1}}, {"data": {"augment": "flip"}}]
)
def test_a_ready_teachers_keys_of_training_would_have_no_effect(table):
    ready = {"name": "t", "model": "mlp", "weights": "t.pth"}
    content = {"name": "tiny", "data": {"name": "digits", "augment": "crop_flip"}, "training": {"clip": 1.0}}
    with pytest.raises(InputError, match=r"not trained, and (training.optimizer|data.augment) has no effect") as caught:
        recipe_from({**content, "teacher": {**ready, **table}})
    assert "training.epochs" in caught.value.hint
    further = {**ready, **table, "training": {**table.get("training", {}), "epochs": 3}}
    for teacher in (further, {**ready, "training": {"threads": 1}}):
        whole = recipe_from({**content, "teacher": teacher})
        assert whole.teacher[0].is_ready is (teacher is not further)
        assert recipe_from(whole.resolved()) == whole


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ({"stop_at": 20}, "stop_at = 20 lies after the last of 10 epochs"),
        ({"schedule": {"name": "step", "milestones": [20]}}, "schedule: no milestone of .* within 10 epochs"),
    ],
)
def test_times_of_the_recipe_are_compared_with_the_epochs_of_each_model(times, message):
    content = {"name": "tiny", "data": {"name": "digits"}, "training": times}
    models = [{"name": "a", "model": "mlp", "training": {"epochs": 30}}, {"name": "b", "model": "mlp"}]
    assert recipe_from({**content, "teacher": models[:1]}).teacher[0].training.epochs == 30
    with pytest.raises(InputError, match=f"teacher.1.training: {message}"):
        recipe_from({**content, "teacher": models})


def test_views_are_counted():
    assert Augment().distinct_views == 1
    assert Augment(flip=True).distinct_views == 2
    assert Augment(pad=4, flip=True).distinct_views == 162


def test_a_single_term_stands_for_a_list_of_one():
    assert recipe({"name": "s", "model": "mlp", "terms": KD[0]}).student[0].terms[0].method == "kd"
