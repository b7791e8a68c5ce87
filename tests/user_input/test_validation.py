from typing import Annotated, Literal

import pytest
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from kdbench.user_input.validation import NAME, Problem, Value, WrongValueError, problem


def _even(value: int) -> int:
    if value % 2:
        raise WrongValueError(f"{value} is odd", "give an even number")
    return value


class Inner(Value):
    mode: Literal["fast", "slow"] = "fast"
    sizes: tuple[int, ...] = ()


class Outer(Value):
    name: str
    inner: Inner = Inner()
    several: tuple[Inner, ...] = Field(default=(), alias="part")
    by_name: dict[str, Inner] = Field(default_factory=dict)
    even: Annotated[int, BeforeValidator(_even)] = 0
    least: int = Field(default=1, ge=1)
    id: str = Field(default="a", pattern=NAME)

    @model_validator(mode="after")
    def _not_both(self):
        if self.name == "both":
            raise ValueError("not both")
        return self


def _problem(content, **options) -> Problem:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(content)
    return problem(caught.value, Outer, **options)


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ({"name": "x", "innr": {}}, "unknown key 'innr'", "did you mean 'inner'?"),
        ({"nme": "x"}, "unknown key 'nme'", "did you mean 'name'?"),
        ({"name": "x", "inner": {"zzz": 1}}, "unknown key 'inner.zzz'", "known here: mode, sizes"),
        ({"name": "x", "part": [{"mod": 1}]}, "unknown key 'part.0.mod'", "did you mean 'mode'?"),
        ({"name": "x", "by_name": {"a": {"mod": 1}}}, "unknown key 'by_name.a.mod'", "did you mean 'mode'?"),
        ({"name": "x", "by_name": {"sizes": {"zzz": 1}}}, "unknown key 'by_name.sizes.zzz'", "known here: mode, sizes"),
        ({}, "the key 'name' is missing", ""),
        ({"name": "x", "inner": {"mode": "medium"}}, "inner.mode: 'medium' should be 'fast' or 'slow'", ""),
        ({"name": "x", "least": 0}, "least: 0 should be greater than or equal to 1", ""),
        ({"name": "x", "even": 3}, "even: 3 is odd", "give an even number"),
        ({"name": "x", "inner": 3}, "inner: 3 should be a table of keys", ""),
        ({"name": "x", "by_name": [1]}, "by_name: [1] should be a table of keys", ""),
        ({"name": "x", "part": "a"}, "part: 'a' should be a list", ""),
        (
            {"name": "x", "id": "a.b"},
            "id: 'a.b' should have letters, digits, - and _ only, and begin with a letter",
            "",
        ),
        ({"name": "both"}, "not both", ""),
        ({"name": "x" * 200, "least": "y" * 200}, f"least: '{'y' * 79}… should be a valid integer", ""),
    ],
)
def test_a_problem_names_the_key_the_value_and_what_to_do(content, message, hint):
    problem = _problem(content)
    assert problem.message.startswith(message)
    assert problem.hint == hint


def test_the_place_and_the_noun_are_the_callers():
    assert _problem({"name": "x", "least": 0}, place="--{}".format).message.startswith("--least: 0 should")
    assert _problem({"name": "x", "lest": 0}, noun="option").message == "unknown option 'lest'"


def test_an_error_has_the_hint_of_the_problem_or_else_the_callers():
    assert Problem("wrong", "do").as_error("a.toml", "see docs").hint == "do"
    error = Problem("wrong").as_error("a.toml", "see docs")
    assert (error.message, error.hint) == ("a.toml: wrong", "see docs")
