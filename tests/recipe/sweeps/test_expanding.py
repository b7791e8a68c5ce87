import pytest

from kdbench.errors import InputError
from kdbench.recipe.loading import recipe_from

TEACHER = {"name": "big", "model": "mlp"}


def recipe(*students, **keys):
    return recipe_from({"name": "tiny", "data": {"name": "digits"}, "teacher": TEACHER, "student": students, **keys})


def swept(name="s", terms=(), **sweep):
    axes = {key.replace("__", "."): value for key, value in sweep.items()}
    return {"name": name, "model": {"name": "mlp", "widths": [30]}, "terms": list(terms), "sweep": axes}


KD = {"method": "kd", "temperature": 1}


def test_a_sweep_is_every_combination_of_its_axes_in_order():
    students = recipe(swept(terms=[KD], terms__0__temperature=[1, 3.5], training__epochs=[2, 5])).student
    assert [s.name for s in students] == [
        "s-temperature1-epochs2", "s-temperature1-epochs5", "s-temperature3_5-epochs2", "s-temperature3_5-epochs5",
    ]  # fmt: skip
    assert [(s.terms[0].options["temperature"], s.training.epochs) for s in students] == [
        (1, 2), (1, 5), (3.5, 2), (3.5, 5),
    ]  # fmt: skip
    assert students[2].axes == {"temperature": 3.5, "epochs": 2}


def test_a_name_says_where_the_values_go():
    expanded = recipe(
        swept("w{widths}-T{temperature}", [KD], model__widths=[[50], [300, 20]], terms__0__temperature=[4])
    )
    assert [s.name for s in expanded.student] == ["w50-T4", "w300-20-T4"]
    assert [s.model.options["widths"] for s in expanded.student] == [[50], [300, 20]]
    assert expanded.student[1].axes["widths"] == "300-20"


def test_axes_that_end_alike_are_told_apart():
    axes = {"training__optimizer__lr": [0.1], "model__name": ["mlp"], "training__schedule__name": ["cosine"]}
    students = recipe(swept(**axes)).student
    assert set(students[0].axes) == {"lr", "model", "training_schedule"}


def test_keys_that_move_together_are_one_axis():
    weights = {"ce_weight, terms.0.kd_weight": [[0.1, 0.9], [0.5, 0.5]]}
    students = recipe({**swept("s", [KD]), "sweep": weights}).student
    assert [(s.ce_weight, s.terms[0].options["kd_weight"]) for s in students] == [(0.1, 0.9), (0.5, 0.5)]
    assert [s.name for s in students] == ["s-ce_weight0_1", "s-ce_weight0_5"]
    assert students[1].axes == {"ce_weight": 0.5}


@pytest.mark.parametrize(
    "axes",
    [
        {"training.stop_at": [0.25, 0.5, 1.0]},
        {"terms.0.until_epoch": [1, 0.5]},
        {"ce_weight, terms.0.until_epoch": [[0.1, 0.5], [0.5, 1.0]]},
    ],
)
def test_shares_of_all_epochs_do_not_end_with_one_epoch(axes):
    for content in ({"student": {**swept("s", [KD]), "sweep": axes}}, {"sweep": {"axes": axes}}):
        base = {"name": "tiny", "data": {"name": "digits"}, "teacher": TEACHER, "student": {**TEACHER, "terms": [KD]}}
        with pytest.raises(InputError, match="1 is the first epoch alone, and values below 1 are shares") as refused:
            recipe_from({**base, "student": {**base["student"], "name": "s"}, **content})
        assert "number of all epochs" in refused.value.hint


def test_times_may_be_epochs_or_shares():
    shares, epochs = ({"terms.0.until_epoch": values} for values in ([0.25, 0.5, 10], [1, 5, 10]))
    both = [recipe({**swept("s", [KD]), "sweep": axes}).student for axes in (shares, epochs)]
    assert [[s.training.epoch_at(s.terms[0].until_epoch) for s in students] for students in both] == [
        [2, 5, 10], [1, 5, 10],
    ]  # fmt: skip


def test_whole_terms_and_teachers_can_be_swept():
    teachers = [{**TEACHER, "name": "big-{widths}", "sweep": {"model.widths": [[40], [80]]}}]
    student = swept("s-{teacher}", [KD], teacher=["big-40", "big-80"])
    expanded = recipe(student, teacher=teachers)
    assert [t.model.options["widths"] for t in expanded.teacher] == [[40], [80]]
    assert [expanded.teachers_of(s)[0].name for s in expanded.student] == ["big-40", "big-80"]


def test_the_points_of_a_sweep_share_no_table():
    first, second = recipe(swept(terms=[KD], terms__0__temperature=[1, 2])).student
    assert first.terms[0].options == {"temperature": 1}
    assert second.terms[0].options == {"temperature": 2}


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"sweep": {}}, "give each axis a list"),
        ({"sweep": {"training.epochs": 5}}, "give each axis a list"),
        ({"sweep": {"training.epochs": []}}, "give each axis a list"),
        ({"sweep": {"ce_weight, training.epochs": [0.1]}}, "give lists of 2 values"),
        ({"sweep": {"terms.0.temperature": [1]}}, "the entry has no terms"),
        ({"sweep": {"terms.1.temperature": [1]}, "terms": [KD]}, "there is no item"),
        ({"sweep": {"training.epochs": [1]}, "name": "s{epoch}"}, "there is no axis 'epoch'; axes: epochs"),
        ({"generations": 2}, "no generation learns"),
        ({"sweep": {"training.epochs.x": [1]}, "training": {"epochs": 3}}, "plain value"),
        ({"sweep": {"training.epoch": [1]}}, "unknown key"),
        ({"sweep": {"training.epochs": [0]}}, "greater than 0"),
        ({"sweep": {"training.epochs": [2, 2]}}, "used twice"),
        ({"generations": 0}, "generations"),
        ({"generations": "two"}, "generations"),
    ],
)
def test_what_cannot_be_written_out_is_refused(student, message):
    with pytest.raises(InputError, match=message):
        recipe({"name": "s", "model": "mlp", "terms": [], **student})


def test_generations_teach_each_other():
    students = recipe({"name": "ban", "model": "mlp", "terms": [KD], "generations": 3}).student
    assert [s.name for s in students] == ["ban-1", "ban-2", "ban-3"]
    assert [s.teacher for s in students] == [(), ("ban-1",), ("ban-2",)]
    assert [s.axes for s in students] == [{"generation": 1}, {"generation": 2}, {"generation": 3}]


def test_what_is_trained_on_is_inherited_key_by_key():
    data = {"name": "digits", "augment": {"pad": 4, "flip": True}, "label_noise": {"share": 0.1, "seed": 3}}
    student, level = recipe(
        {"name": "a", "model": "mlp", "data": {"augment": {"flip": False}, "label_noise": {"share": 0.2}}},
        {"name": "b", "model": "mlp", "data": {"augment": "mixup", "subset": {"random": 100}}},
        data=data,
    ).student
    assert (student.data.augment.pad, student.data.augment.flip) == (4, False)
    assert (student.data.label_noise.share, student.data.label_noise.seed) == (0.2, 3)
    assert (level.data.augment.mixup, level.data.augment.pad, level.data.label_noise.share) == (1.0, 4, 0.1)
    assert level.data.subset.random == 100


def test_a_level_is_less_than_what_it_replaces_where_it_says_less():
    (student,) = recipe(
        {"name": "a", "model": "mlp", "data": {"augment": "none"}}, data={"name": "digits", "augment": "mixup"}
    ).student
    assert student.data.augment.distinct_views == 1
    assert not student.data.augment.mixes


def test_a_subset_replaces_another_whole():
    students = [{"name": "a", "model": "mlp", "data": {"subset": subset}} for subset in ({}, {"half": "D0"})]
    students[1]["name"] = "b"
    everything, half = recipe(*students, data={"name": "digits", "subset": {"random": 50}}).student
    assert everything.data.subset.random is None
    assert (half.data.subset.random, half.data.subset.half) == (None, "D0")


def test_the_head_of_sub_students_inherits_their_training():
    parts = {"count": 3, "head": {"epochs": 2}}
    (student,) = recipe(
        {"name": "s", "model": "mlp", "training": {"epochs": 9, "batch": 16}, "sub_students": parts}
    ).student
    assert (student.training.epochs, student.sub_students.head.epochs, student.sub_students.head.batch) == (9, 2, 16)
