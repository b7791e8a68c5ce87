import pytest

from kdbench.errors import InputError
from kdbench.recipe.loading import load_content, load_sweep, recipe_from
from kdbench.recipe.sweeps.points import swept
from kdbench.recipe.sweeps.sweep import axes_of, axis, seeds

KD, HINT = {"method": "kd", "temperature": 4}, {"method": "hint"}


def content(**changes):
    return {
        "name": "tiny",
        "data": {"name": "digits"},
        "training": {"epochs": 3},
        "teacher": [{"name": "t", "model": {"name": "mlp", "widths": [40]}}],
        "student": [
            {"name": "alone", "model": {"name": "mlp", "widths": [9]}},
            {"name": "kd", "model": {"name": "mlp", "widths": [9]}, "ce_weight": 0.5, "terms": [KD]},
            {"name": "hint", "model": {"name": "mlp", "widths": [9]}, "terms": [HINT, KD]},
        ],
        **changes,
    }


def recipe(axes=None, **table):
    return recipe_from({**content(), "sweep": {**({"axes": axes} if axes else {}), **table}})


def models(recipe):
    return {entry.name: dict(entry.axes) for entry in (*recipe.teacher, *recipe.student, *recipe.variant)}


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("terms.0.temperature=1,4,10", "terms.0.temperature", [1, 4, 10]),
        ("training.optimizer.lr=1e-3, 0.01", "training.optimizer.lr", [1e-3, 0.01]),
        ("model.widths=[8,16],[16,32]", "model.widths", [[8, 16], [16, 32]]),
        ("model=mlp, convnet", "model", ["mlp", "convnet"]),
        ('data.augment="none",{pad=2}', "data.augment", ["none", {"pad": 2}]),
        ("cache=auto", "cache", ["auto"]),
        ("ce_weight, terms.0.kd_weight=[0.1,0.9]", "ce_weight, terms.0.kd_weight", [[0.1, 0.9]]),
    ],
)
def test_an_axis_is_typed_as_a_key_and_its_values(text, key, values):
    assert axis(text) == (key, values)


@pytest.mark.parametrize("text", ["epochs", "=1", "a=", "a=[1,2", 'a="x', "a=b,,c", "a=1e999", "a=" + 500 * "["])
def test_what_is_no_axis_is_refused(text):
    with pytest.raises(InputError) as caught:
        axis(text)
    assert caught.value.hint


def test_a_key_has_all_its_values_in_one_option():
    with pytest.raises(InputError, match="twice"):
        axes_of(["a=1", "a=2"])


def test_models_are_named_by_the_axes_that_change_them_and_others_are_shared():
    assert models(recipe({"terms.0.temperature": [1, 4], "student.hint.training.epochs": [2, 5]})) == {
        "t": {},
        "alone": {},
        "kd-temperature1": {"temperature": 1},
        "kd-temperature4": {"temperature": 4},
        "hint-epochs2": {"epochs": 2},
        "hint-epochs5": {"epochs": 5},
    }


def test_an_axis_may_be_a_key_of_a_table_that_the_recipe_leaves_out():
    base = recipe_from(content())
    swept = load_sweep(base, {"student.*.start.share": [0.25, 0.5]}).recipe  # whose `start` is None
    assert [student.start.share for student in swept.student] == 3 * [0.25, 0.5]
    entry = {"name": "late", "model": "mlp", "start": None, "sweep": {"start.share": [0.25, 0.5]}}
    expanded = recipe_from(content(student=[entry])).student
    assert [student.start.share for student in expanded] == [0.25, 0.5]


def test_a_changed_teacher_changes_who_learns_from_it_and_not_who_learns_from_labels():
    expanded = recipe({"teacher.t.model.widths": [[20], [40]]})
    assert list(models(expanded)) == [
        "t-widths20", "t-widths40", "alone", "kd-widths20", "kd-widths40", "hint-widths20", "hint-widths40",
    ]  # fmt: skip
    assert [expanded.teachers_of(student)[0].name for student in expanded.student] == [
        "t-widths20", "t-widths20", "t-widths40", "t-widths20", "t-widths40",
    ]  # fmt: skip
    assert {entry.family for entry in expanded.student} == {None, "kd", "hint"}


def test_variants_starts_and_prunings_follow_their_models():
    more = {
        "student": [
            *content()["student"],
            {"name": "begun", "model": {"name": "mlp", "widths": [9]}, "start": {"model": "kd", "share": 0.5}},
            {"name": "cut", "prune": {"of": "t", "macs": 0.5}},
        ],
        "variant": [{"of": "kd", "method": "int8"}, {"of": "kd-int8", "method": "fp16"}, {"of": "t", "method": "fp16"}],
    }
    expanded = recipe_from({**content(**more), "sweep": {"axes": {"student.kd.ce_weight": [0, 1]}}})
    assert [entry.start.model for entry in expanded.student if entry.start] == ["kd-ce_weight0", "kd-ce_weight1"]
    assert [(v.name, v.of) for v in expanded.variants()] == [
        ("kd-int8-ce_weight0", "kd-ce_weight0"),
        ("kd-int8-ce_weight1", "kd-ce_weight1"),
        ("t-fp16", "t"),
        ("kd-int8-fp16-ce_weight0", "kd-int8-ce_weight0"),
        ("kd-int8-fp16-ce_weight1", "kd-int8-ce_weight1"),
    ]
    assert "cut" in models(expanded)


def test_an_axis_for_all_models_leaves_out_those_with_a_value_of_their_own():
    base = content()
    base["student"][0]["training"] = {"epochs": 7}
    expanded = recipe_from({**base, "sweep": {"axes": {"training.epochs": [2, 5]}}})
    assert [name for name in models(expanded) if name.startswith(("t", "alone"))] == ["t-epochs2", "t-epochs5", "alone"]
    assert {entry.training.epochs for entry in expanded.teacher} == {2, 5}


def test_sweeps_and_generations_of_an_entry_are_crossed_with_those_of_the_recipe():
    base = content(
        student=[
            {"name": "s", "model": "mlp", "terms": [KD], "sweep": {"ce_weight": [0, 1]}},
            {"name": "born", "model": "mlp", "terms": [{"method": "born_again"}], "generations": 2},
        ]
    )
    expanded = recipe_from({**base, "sweep": {"axes": {"training.epochs": [2, 5]}}})
    assert models(expanded)["s-ce_weight0-epochs5"] == {"ce_weight": 0, "epochs": 5}
    assert expanded.entry("born-2-epochs5").teacher == ("born-1-epochs5",)


def test_two_axes_that_end_alike_have_their_whole_keys_for_names():
    expanded = recipe({"student.kd.terms.0.temperature": [1], "student.hint.terms.1.temperature": [2, 3]})
    assert "hint-student_hint_terms_1_temperature2" in models(expanded)


def test_a_point_has_the_models_that_belong_to_its_values():
    _, points = swept({**content(), "sweep": {"axes": {"student.kd.ce_weight": [0, 1], "training.clip": [1.0]}}})
    assert [dict(point.values) for point in points] == [
        {"student.kd.ce_weight": 0, "training.clip": 1.0},
        {"student.kd.ce_weight": 1, "training.clip": 1.0},
    ]
    assert [point.models for point in points] == [
        ("t", "alone", "kd-ce_weight0", "hint"),
        ("t", "alone", "kd-ce_weight1", "hint"),
    ]


def test_points_may_be_given_one_by_one():
    points = [{"student.kd.ce_weight": 0.1, "training.clip": 1.0}, {"student.kd.ce_weight": 0.2, "training.clip": 1.0}]
    expanded = recipe(points=points)
    assert [name for name in models(expanded) if name.startswith("kd")] == ["kd-ce_weight0_1", "kd-ce_weight0_2"]
    assert {entry.training.clip for entry in expanded.student} == {1.0}


def test_axes_replace_the_points_of_the_recipe_and_a_recipe_has_only_one_of_both():
    key = "training.clip"
    table = {**content(), "sweep": {"points": [{key: 1.0}, {key: 5.0}], "seeds": 2}}
    load = load_sweep(table, {key: [2.0, 3.0, 4.0]})
    assert ([point.values for point in load.points], load.table.seeds) == ([{key: 2.0}, {key: 3.0}, {key: 4.0}], 2)
    assert [point.values for point in load_sweep(table).points] == [{key: 1.0}, {key: 5.0}]
    with pytest.raises(InputError, match="a sweep has axes or points, not both") as error:
        load_sweep({**table, "sweep": {**table["sweep"], "axes": {key: [2.0]}}})
    assert error.value.hint.startswith("remove one of them")


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_two_models_of_one_name_are_refused_although_a_sweep_renames_them(role):
    table = content()
    twice = {**table, role: [*table[role], {"name": "kd", "model": {"name": "mlp", "widths": [3]}}]}
    for axes in ({"training.clip": [1.0, 2.0]}, None):
        with pytest.raises(InputError, match="the name 'kd' is used twice"):
            load_sweep(twice, axes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"teacher": [], "student": []}, "teacher: .* too few items"), ({"data": "digits"}, "data: 'digits' should be")],
)
def test_a_recipe_without_models_is_refused_for_that_and_not_for_its_axes(changes, words):
    table = {**content(), "student": [], "teacher": "mlp", **changes}
    with pytest.raises(InputError, match=words):
        load_sweep(table, {"training.clip": [1.0, 2.0]})


def test_an_expanded_recipe_is_a_recipe_and_expands_no_further():
    expanded = recipe({"training.epochs": [2, 5], "terms.0.temperature": [1, 4]})
    assert recipe_from(expanded.resolved()) == expanded


def test_a_study_s_numbers_stay_where_their_models_do():
    reported = [{"model": name, "metric": "top1", "value": 0.9} for name in ("t", "kd")]
    expanded = recipe_from({**content(reported=reported), "sweep": {"axes": {"terms.0.temperature": [1, 4]}}})
    assert [number.model for number in expanded.reported] == ["t"]


@pytest.mark.parametrize(
    ("known", "count", "expected"), [([0], 3, [0, 1, 2]), ([7, 0], 4, [7, 0, 1, 2]), ([3, 4], 1, [3]), ([5], None, [5])]
)
def test_seeds_are_those_of_the_recipe_and_then_the_next_numbers(known, count, expected):
    assert seeds(known, count) == expected
    assert recipe_from({**content(seeds=known), "sweep": {"seeds": count} if count else {}}).seeds == tuple(expected)


@pytest.mark.parametrize(
    ("axes", "words", "hint"),
    [
        ({"measure.threads": [1, 2]}, "'measure.threads' is the same for all", "--set measure.threads="),
        ({"data.name": ["a", "b"]}, "different data sets", "--set"),
        ({"data.split_seed": [1, 2]}, "different data sets or splits", "--out"),
        ({"seeds": [1, 2]}, "'seeds'", "--seeds"),
        ({"name": ["a", "b"]}, "'name'", ""),
        ({"student.kd.name": ["a", "b"]}, "is a name", ""),
        ({"teacher": [["t"]]}, "whole table", "student.*.teacher"),
        ({"termz.0.temperature": [1]}, "'termz'", "did you mean 'terms'?"),
        ({"student.nobody.ce_weight": [1]}, "no item 'nobody'", "alone, kd, hint"),
        ({"terms.5.temperature": [1]}, "no student with a term 5", "training.epochs"),
        ({"ce_weight, cache": [[0.1]]}, "not a list of 2 values", "one value per key"),
        ({"training.epochs": []}, "no values", ""),
        ({"training.epochs": [2, 2.0]}, "twice", ""),
        ({"training.epocs": [2, 3]}, "unknown key", "did you mean 'epochs'?"),
        ({"terms.0.temperature": [1], "": [2]}, "''", ""),
        ({"training.epochs": list(range(200)), "ce_weight": list(range(200))}, "40,000 points", ""),
    ],
)
def test_an_axis_that_is_not_possible_is_refused(axes, words, hint):
    with pytest.raises(InputError) as caught:
        recipe(axes)
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_an_axis_that_changes_no_model_is_refused():
    base = content(student=[])
    base["teacher"][0]["training"] = {"epochs": 7}
    with pytest.raises(InputError, match="changes no model"):
        recipe_from({**base, "sweep": {"axes": {"training.epochs": [2, 5]}}})


@pytest.mark.parametrize("table", [5, [], {"axis": {}}, {"axes": 3}, {"seeds": 0}, {"axes": {"training.epochs": 3}}])
def test_a_table_of_another_form_is_refused(table):
    with pytest.raises(InputError):
        recipe_from({**content(), "sweep": table})


def test_the_short_key_of_a_shipped_recipe_means_the_students_that_have_it():
    expanded = recipe_from({**load_content("digits"), "sweep": {"axes": {"terms.0.temperature": [1, 4, 10]}}})
    changed = [name for name, axes in models(expanded).items() if axes]
    assert changed == ["student-kd-temperature1", "student-kd-temperature4", "student-kd-temperature10"]


def test_tables_with_equal_values_under_other_keys_are_different_points():
    values = [{"mixup": 1}, {"cutmix": 1}]
    expanded = recipe({"student.kd.data.augment": values})
    students = {student.name: student for student in expanded.student if student.family == "kd"}
    assert sorted(students) == ["kd-augmentcutmix1", "kd-augmentmixup1"]
    assert students["kd-augmentmixup1"].data.augment.mixup == 1
    assert students["kd-augmentcutmix1"].data.augment.cutmix == 1
    assert {tuple(student.axes.values()) for student in students.values()} == {("mixup1",), ("cutmix1",)}


def test_a_table_with_a_name_is_named_by_it():
    networks = [{"name": "mlp", "widths": [8]}, {"name": "mlp", "widths": [8, 16]}]
    names = {student.name for student in recipe({"student.alone.model": networks}).student}
    assert {"alone-modelmlp-widths8", "alone-modelmlp-widths8-16"} <= names


def test_values_that_give_two_models_one_name_are_refused():
    with pytest.raises(InputError, match=r"'a:b'.*'a_b'.*'kd-transforma_b'") as caught:
        recipe({"student.kd.data.augment.transform": ["a:b", "a_b"]})
    assert "letters, digits" in caught.value.hint


def test_an_axis_is_told_apart_from_the_axis_of_an_entry_that_ends_alike():
    own = {"name": "s", "model": {"name": "mlp", "widths": [9]}, "terms": [KD, HINT], "ce_weight": 0.5}
    student = {**own, "sweep": {"terms.0.temperature": [1, 4]}}
    full, _ = swept({**content(student=[student]), "sweep": {"axes": {"terms.1.temperature": [2, 3]}}})
    pairs = [(1, 2), (1, 3), (4, 2), (4, 3)]
    assert [entry["axes"] for entry in full["student"]] == [
        {"temperature": first, "terms_1_temperature": second} for first, second in pairs
    ]
    temperatures = [tuple(term["temperature"] for term in entry["terms"]) for entry in full["student"]]
    assert temperatures == pairs
