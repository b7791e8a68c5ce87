import numpy as np
import pytest

from kdbench.errors import InputError
from kdbench.recipe import Recipe
from kdbench.recipe.loading import load_recipe, load_sweep, overridden, recipe_from, shipped_recipes

MINIMAL = {
    "name": "tiny",
    "data": {"name": "digits"},
    "teacher": [{"name": "big", "model": "mlp"}],
    "student": [{"name": "small", "model": {"name": "mlp", "widths": [30]}, "terms": [{"method": "kd", "T": 4}]}],
}


def with_(**changes) -> dict:
    return {**MINIMAL, **changes}


def written(tmp_path, text: str) -> str:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


TOML = """
name = "tiny"
data = { name = "digits" }
training = { epochs = 7, optimizer = { name = "adam", lr = 0.001 } }
[[teacher]]
name = "big"
model = "mlp"
[[student]]
name = "small"
model = "mlp"
training = { optimizer = { lr = 0.01 } }
[[student]]
name = "smaller"
model = "mlp"
"""


def test_shared_training_is_inherited_key_by_key(tmp_path):
    recipe = load_recipe(written(tmp_path, TOML))
    small, smaller = recipe.student
    assert (small.training.epochs, small.training.optimizer.name, small.training.optimizer.lr) == (7, "adam", 0.01)
    assert smaller.training == recipe.training
    assert recipe.teacher[0].training.epochs == 7


def test_a_folder_that_is_no_text_is_refused(tmp_path):
    with pytest.raises(InputError, match="folder: 5 should be a valid string"):
        load_recipe(written(tmp_path, f"folder = 5\n{TOML}"))


def test_a_single_table_stands_for_a_list_of_one():
    recipe = recipe_from(with_(teacher=MINIMAL["teacher"][0], student={"name": "s", "model": "mlp"}))
    assert [teacher.name for teacher in recipe.teacher] == ["big"]
    assert [student.name for student in recipe.student] == ["s"]


def test_options_of_models_and_methods_are_whatever_stands_beside_the_name():
    student = recipe_from(MINIMAL).student[0]
    assert student.model.options == {"widths": [30]}
    assert student.terms[0].options == {"T": 4}


@pytest.mark.parametrize(
    ("override", "read", "expected"),
    [
        ("training.epochs=2", lambda r: [s.training.epochs for s in (*r.teacher, *r.student)], [2, 2, 2]),
        ("student.small.training.epochs=2", lambda r: [s.training.epochs for s in r.student], [2, 7]),
        ("student.1.training.epochs=2", lambda r: [s.training.epochs for s in r.student], [7, 2]),
        ("student.*.training.epochs=2", lambda r: [s.training.epochs for s in r.student], [2, 2]),
        ("student.small.model.widths=[30]", lambda r: r.student[0].model.options, {"widths": [30]}),
        ("data.name=mnist", lambda r: r.data.name, "mnist"),
        ("seeds=[3, 4]", lambda r: r.seeds, (3, 4)),
        ('student.small."training"."epochs"=2', lambda r: [s.training.epochs for s in r.student], [2, 7]),
        ('student.0.sweep={"training.epochs"=[2]}', lambda r: r.student[0].training.epochs, 2),
        ('student.0.sweep."training.epochs"=[2]', lambda r: r.student[0].training.epochs, 2),
        ("title=a = b", lambda r: r.title, "a = b"),
    ],
)
def test_overrides(tmp_path, override, read, expected):
    assert read(load_recipe(written(tmp_path, TOML), [override])) == expected


def test_later_overrides_win(tmp_path):
    recipe = load_recipe(written(tmp_path, TOML), ["training.epochs=2", "training.epochs=3"])
    assert recipe.training.epochs == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs", "not of the form key=value"),
        ("=3", "not of the form key=value"),
        ("student.tiny.training.epochs=2", "no item 'tiny'"),
        ("student.2.training.epochs=2", "no item '2'"),
        ('student.0.sweep."training.epochs=[2]', "has a quote inside a part"),
        ('student.0.sw"eep.training"=[2]', "has a quote inside a part"),
        ("name.first=x", "is a key within a plain value"),
    ],
)
def test_overrides_that_fit_nowhere(tmp_path, override, message):
    with pytest.raises(InputError, match=message):
        load_recipe(written(tmp_path, TOML), [override])


def test_the_hint_for_an_index_names_those_that_exist(tmp_path):
    terms = 'student.0.terms=[{ method = "kd" }]'
    with pytest.raises(InputError, match="no item '7'") as caught:
        load_recipe(written(tmp_path, TOML), [terms, "student.0.terms.7.temperature=2"])
    assert caught.value.hint == "use 0, or * for all"


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ({}, "is empty", "kdbench list recipes"),
        (with_(epocs=3), "unknown key 'epocs'", "known here"),
        (with_(trainig={"epochs": 3}), "unknown key 'trainig'", "did you mean 'training'?"),
        (with_(training={"epocs": 3}), "unknown key 'training.epocs'", "did you mean 'epochs'?"),
        (with_(data={"nam": "digits"}), "unknown key 'data.nam'", "did you mean 'name'?"),
        (with_(data={"name": "digits", "augment": {"fllip": True}}), "'data.augment.fllip'", "did you mean 'flip'?"),
        (with_(measure={"bugdet_s": 3}), "unknown key 'measure.bugdet_s'", "did you mean 'budget_s'?"),
        (with_(teacher=[]), "teacher", ""),
        ({key: MINIMAL[key] for key in ("name", "data")}, "the key 'teacher' is missing", "shipped"),
        (with_(variant=[{"of": "big"}]), "the key 'variant.0.method' is missing", "`kdbench list compressors`"),
        (with_(training={"epochs": 0}), "training.epochs", ""),
        (with_(training={"epochs": "many"}), "training.epochs: 'many' should be", ""),
        (with_(training={"optimizer": {"lr": float("nan")}}), "training.optimizer.lr", ""),
        (with_(seeds=[]), "seeds", ""),
        (with_(seeds=[1, 1]), "seeds", ""),
        (with_(student=[{"name": "big", "model": "mlp"}]), "the name 'big' is used twice", ""),
        (with_(student=[{"name": "s", "model": "mlp", "teacher": "bag"}]), "did you mean 'big'?", ""),
        (with_(name="../etc"), "name", ""),
        (with_(teacher=[{"name": "a/b", "model": "mlp"}]), "teacher.0.name", ""),
    ],
)
def test_what_is_wrong_is_named_with_its_key(content, message, hint):
    with pytest.raises(InputError) as caught:
        recipe_from(content, "my.toml")
    assert caught.value.message.startswith("my.toml")
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_recipe_that_is_not_toml_names_the_line(tmp_path):
    with pytest.raises(InputError, match=r"not valid TOML: .*line 2"):
        load_recipe(written(tmp_path, 'name = "x"\nepochs = = 3\n'))


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(InputError) as caught:
        load_recipe("mnist_dens")
    assert caught.value.hint == "did you mean 'mnist_dense'?"


def test_the_hash_is_that_of_what_is_done_not_of_how_it_is_written():
    recipe = recipe_from(MINIMAL)
    assert recipe.hash() == recipe_from(with_(seeds=[0], title="")).hash()
    assert recipe.hash() == recipe_from(with_(data={"name": "digits", "root": "/elsewhere"})).hash()
    assert recipe.hash() != recipe_from(with_(seeds=[1])).hash()


def test_keys_that_a_recipe_does_not_use_leave_the_hash_of_the_first_version():
    """Otherwise a new version would refuse to resume a finished run, for other settings."""
    student = {"name": "s", "model": "mlp", "terms": [{"method": "kd"}]}
    plain = {"name": "study", "data": {"name": "digits"}, "teacher": [{"name": "t", "model": "mlp"}]}
    recipe = recipe_from({**plain, "student": [student]})
    assert recipe.hash() == "69ad73540de4bc9ba24b9721885e3e37ecd8970397b41ea4eb4088e9060f401a"


def test_the_resolved_recipe_reads_back_as_the_same():
    recipe = recipe_from(MINIMAL)
    assert Recipe.model_validate(recipe.resolved()) == recipe


def test_a_student_belongs_to_the_teacher_it_names_or_to_the_first():
    teachers = [{"name": "a", "model": "mlp"}, {"name": "b", "model": "mlp"}]
    students = [{"name": "s", "model": "mlp"}, {"name": "t", "model": "mlp", "teacher": "b"}]
    recipe = recipe_from(with_(teacher=teachers, student=students))
    assert [recipe.teachers_of(student)[0].name for student in recipe.student] == ["a", "b"]


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_are_valid_and_called_as_their_file(name):
    assert load_recipe(name).name == name


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_name_models_methods_and_data_sets_that_exist(name):
    from kdbench.data import DATASETS
    from kdbench.distill.methods import METHODS
    from kdbench.models import MODELS

    recipe = load_recipe(name)
    assert DATASETS.get(recipe.data.name)
    assert all(MODELS.get(trained.model.name) for trained in (*recipe.teacher, *recipe.student))
    assert all(METHODS.get(term.method) for student in recipe.student for term in student.terms)


@pytest.mark.parametrize(("name", "text"), shipped_recipes().items(), ids=shipped_recipes().keys())
def test_shipped_recipes_begin_with_their_evidence(name, text):
    header = text.partition("\nname")[0]
    assert header.startswith("# "), f"{name} has no evidence header"
    assert all(line.startswith("#") or not line for line in header.splitlines())


class _Path:
    """A path of another library."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


def test_numbers_of_numpy_and_paths_are_plain_values_everywhere_in_a_recipe(tmp_path):
    options = {"name": "dense", "hidden": np.array([8, 4]), "dropout": np.float32(0.25)}
    table = with_(seeds=np.arange(2), data={"name": "digits", "root": tmp_path})
    written = {"name": "dense", "hidden": [8, 4], "dropout": 0.25}
    expected = recipe_from(
        with_(
            seeds=[0, 1],
            data={"name": "digits", "root": str(tmp_path)},
            teacher=[{"name": "t", "model": written}],
            training={"epochs": 3},
        )
    )
    table["teacher"] = [{"name": "t", "model": options}]
    changed = overridden(table, {"training.epochs": np.int64(3)})
    assert recipe_from(changed).resolved() == expected.resolved()
    assert recipe_from(changed).hash() == expected.hash()


def test_axes_of_numpy_are_those_of_lists():
    table = with_(teacher=[{"name": "t", "model": {"name": "dense", "hidden": [8]}}])
    key, other = "teacher.t.training.epochs", "teacher.t.model.hidden"
    plain = load_sweep(table, {key: [1, 2], other: [[8], [4]]}, 2)
    for_numpy = load_sweep(table, {key: np.array([1, 2]), other: [np.array([8]), (4,)]}, np.int64(2))
    assert for_numpy.recipe.hash() == plain.recipe.hash()
    assert for_numpy.values == plain.values == {key: [1, 2], other: [[8], [4]]}
    assert load_sweep(table, {key: np.array(2)}).values == {key: [2]}


@pytest.mark.parametrize("value", [object, print, object(), np.array([object()])])
def test_what_no_file_can_hold_is_refused(value):
    with pytest.raises(InputError, match=r"teacher\.0\.model\.hidden.* is not text, a number, a list or a table"):
        recipe_from(with_(teacher=[{"name": "t", "model": {"name": "dense", "hidden": value}}]))


def test_a_recipe_is_read_by_a_path_of_another_library(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\ndata.name = "digits"\nteacher = [{ name = "t", model = "mlp" }]\n')
    assert load_recipe(_Path(file)) == load_recipe(file)
    assert load_sweep(_Path(file)).recipe == load_recipe(file)
