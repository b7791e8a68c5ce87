"""Arguments of a wrong type: the message names the argument, the hint what it may be."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from kdbench.errors import InputError
from kdbench.user_input.arguments import checked


class Results:
    """A class of one's own."""


@checked
def call(
    run: Results | str | Path = "",
    *,
    models: Mapping[str, str] | Sequence[str] | str | None = None,
    limits: Mapping[str, float] | None = None,
    seeds: int | None = None,
    budget_s: float = 1.0,
    size: int | tuple[int, int] | None = None,
    kind: Literal["a", "b"] = "a",
    function: Callable[..., object] | None = None,
    resume: bool = False,
    anything: Any = None,
    **axes: str | int,
) -> str:
    """Return a word."""
    return "called"


def _id(value):
    """Return a test's name without the addresses of objects, which differ between the processes of pytest-xdist."""
    return re.sub(r" at 0x\w+", "", str(value))


@pytest.mark.parametrize(
    "arguments",
    [
        {"run": Path("x")},
        {"run": Results()},
        {"models": "a"},
        {"models": ["a"]},
        {"models": ()},
        {"models": {"a": "b"}},
        {"models": (name for name in "ab")},
        {"limits": {"top1": 1}},
        {"limits": {"top1": np.float32(1)}},
        {"seeds": np.int64(3)},
        {"budget_s": 1},
        {"size": (3, 4)},
        {"kind": "not one of them: the function says so"},
        {"function": len},
        {"anything": object()},
        {"batch": 1, "device": "x"},
    ],
    ids=_id,
)
def test_what_fits_is_accepted(arguments):
    assert call(**arguments) == "called"


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ({"run": 5}, "run cannot be 5 (int)", "run may be a Results, text or a path"),
        ({"run": None}, "run cannot be None (NoneType)", "run may be a Results, text or a path"),
        ({"run": b"x"}, "run cannot be b'x' (bytes)", "run may be a Results, text or a path"),
        (
            {"models": [1]},
            "models cannot be [1] (list)",
            "models may be a dictionary whose values are text, a list of text, text or None",
        ),
        (
            {"limits": {"top1": "a"}},
            "limits cannot be {'top1': 'a'} (dict)",
            "limits may be a dictionary whose values are a number or None",
        ),
        ({"limits": 3}, "limits cannot be 3 (int)", "limits may be a dictionary whose values are a number or None"),
        ({"seeds": 2.5}, "seeds cannot be 2.5 (float)", "seeds may be an integer or None"),
        ({"budget_s": "1s"}, "budget_s cannot be '1s' (str)", "budget_s may be a number"),
        ({"size": "4"}, "size cannot be '4' (str)", "size may be an integer, a list of integers or None"),
        ({"kind": 3}, "kind cannot be 3 (int)", "kind may be one of a, b"),
        ({"function": 3}, "function cannot be 3 (int)", "function may be a function or None"),
        ({"resume": "no"}, "resume cannot be 'no' (str)", "resume may be True or False"),
        ({"batch": [1]}, "batch cannot be [1] (list)", "batch may be text or an integer"),
    ],
    ids=_id,
)
def test_what_does_not_fit_is_named(arguments, message, hint):
    with pytest.raises(InputError) as caught:
        call(**arguments)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_method_is_checked_like_a_function():
    class Run:
        @classmethod
        @checked
        def read(cls, path: str) -> str:
            return path

        @checked
        def find(self, metric: str) -> str:
            return metric

    assert (Run.read("a"), Run().find("b")) == ("a", "b")
    for call_wrongly in (Run.read, Run().find):
        with pytest.raises(InputError):
            call_wrongly(3)


def test_a_long_value_is_cut():
    with pytest.raises(InputError) as caught:
        call(run=np.zeros((9, 9)))
    assert caught.value.message.endswith("… (ndarray)")
    assert "\n" not in caught.value.message


def test_unknown_and_missing_arguments_are_pythons_own_errors():
    @checked
    def strict(run: str) -> str:
        return run

    with pytest.raises(TypeError, match="unexpected keyword argument 'runs'"):
        strict("x", runs=1)
    with pytest.raises(TypeError, match="missing 1 required"):
        strict()
    assert str(inspect.signature(strict)) == "(run: str) -> str"
