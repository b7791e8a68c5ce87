"""Planning a recipe takes work in proportion to its models, counted in lines of Python that run, never timed."""

import sys

import pytest

from kdbench.errors import InputError
from kdbench.recipe import Recipe
from kdbench.recipe.loading import recipe_of
from kdbench.workflows.study.plan import plan

FEW, MANY = 60, 180
BASE = {"name": "x", "data": {"name": "digits"}, "teacher": [{"name": "t", "model": "mlp"}]}


def swept(count: int) -> dict:
    return {**BASE, "student": [{"name": "s", "model": "mlp", "sweep": {"training.epochs": list(range(1, count + 1))}}]}


def listed(count: int) -> dict:
    return {**BASE, "student": [{"name": f"s{n}", "model": "mlp"} for n in range(count)]}


def chained(count: int) -> dict:
    """Each student learns from the one after it."""
    names = [*(f"s{n}" for n in range(count)), "t"]
    return {**BASE, "student": [{"name": names[n], "model": "mlp", "teacher": names[n + 1]} for n in range(count)]}


def pruned(count: int) -> dict:
    return {**BASE, "student": [{"name": f"s{n}", "prune": {"of": "t", "macs": 0.5}} for n in range(count)]}


def lines(compute) -> int:
    """Return how many lines of Python run while `compute` does."""
    count = 0

    def count_lines(frame, event, argument):
        nonlocal count
        count += 1
        return count_lines

    sys.settrace(count_lines)
    try:
        compute()
    finally:
        sys.settrace(None)
    return count


def swept_as_a_whole(count: int) -> dict:
    axes = {"student.s.training.epochs": list(range(1, count // 2 + 1)), "ce_weight": [0, 1]}
    student = {"name": "s", "model": "mlp", "terms": [{"method": "kd"}]}
    return {**BASE, "student": [student], "sweep": {"axes": axes}}


@pytest.mark.parametrize("recipe", [swept, listed, chained, pruned, swept_as_a_whole])
def test_planning_grows_no_faster_than_the_models(recipe) -> None:
    recipe_of(recipe(2))  # imports
    few, many = (lines(lambda n=n: plan(recipe_of(recipe(n)))) for n in (FEW, MANY))
    assert many / few < (MANY / FEW) ** 1.2


def test_models_are_trained_after_those_they_need_and_otherwise_in_the_recipe_s_order() -> None:
    students = [("d", "c"), ("a", "t"), ("c", "b"), ("b", "t"), ("e", "t")]
    recipe = recipe_of({**BASE, "student": [{"name": n, "model": "mlp", "teacher": t} for n, t in students]})
    assert [entry.name for entry in recipe.training_order()] == ["t", "a", "b", "c", "d", "e"]
    assert [job.id for job in plan(recipe)] == ["t", "a", "b", "c", "d", "e"]


def test_a_chain_that_is_too_long_is_refused() -> None:
    assert len(plan(recipe_of(chained(199)))) == 200
    with pytest.raises(InputError, match="'s0' is the last in a chain of more than 200 students"):
        recipe_of(chained(200))


def test_a_copy_of_a_recipe_knows_its_own_models() -> None:
    recipe = recipe_of(listed(2))
    assert recipe.entry("s1").name == "s1"
    other = recipe.model_copy(update={"student": recipe_of(listed(3)).student})
    assert other.entry("s2").name == "s2"
    assert Recipe.model_validate(recipe.resolved()) == recipe


def test_an_unknown_name_among_many_has_a_short_hint() -> None:
    content = listed(500)
    content["student"][0]["teacher"] = "zzz"
    with pytest.raises(InputError) as caught:
        recipe_of(content)
    assert len(str(caught.value.message) + caught.value.hint) < 400
