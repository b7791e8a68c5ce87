"""docs/api.md, read without running it: it names all that is public, and calls it with arguments that it takes."""

import ast
import inspect
import re
import typing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import kdbench
from kdbench.judge.readiness import judge

TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@dataclass
class Instance:
    of: type


def value_of(node, known):
    """Return what an expression is, as far as kdbench says: an object, or the Instance of a class; else None."""
    match node:
        case ast.Name(id=name):
            return known.get(name)
        case ast.Attribute(value=owner, attr=name):
            return member(value_of(owner, known), name)
        case ast.Call(func=func, args=args, keywords=keywords):
            function = value_of(func, known)
            for argument in (*args, *(keyword.value for keyword in keywords)):
                value_of(argument, known)
            return function and called(function, [None] * len(args), {keyword.arg: None for keyword in keywords})
        case ast.BinOp(left=left, right=right):
            return value_of(left, known) and value_of(right, known) and None
    return None


def member(owner, name):
    if not isinstance(owner, Instance):
        return owner and getattr(owner, name)
    declared = {**getattr(owner.of, "__dataclass_fields__", {}), **getattr(owner.of, "model_fields", {})}
    if name in declared:
        return instance(typing.get_type_hints(owner.of)[name], owner.of)
    attribute = inspect.getattr_static(owner.of, name)
    if isinstance(attribute, property):
        return instance(typing.get_type_hints(attribute.fget)["return"], owner.of)
    return attribute.__get__(object.__new__(owner.of), owner.of)


def called(function, args, kwargs):
    inspect.signature(function).bind(*args, **kwargs)
    if inspect.isclass(function):
        return Instance(function)
    owner = getattr(function, "__self__", None)
    try:
        hints = typing.get_type_hints(judge if isinstance(function, ModuleType) else function)
    except NameError:  # of an optional library
        return None
    return instance(hints["return"], owner if inspect.isclass(owner) else type(owner))


def instance(hint, owner):
    hints = [owner if hint is typing.Self else hint for hint in typing.get_args(hint) or (hint,)]
    first = next(hint for hint in hints if hint is not type(None))
    return Instance(first) if inspect.isclass(first) and first.__module__.startswith("kdbench.") else None


def check(block):
    """Return how many expressions of kdbench a block has; raises AttributeError or TypeError for a wrong one."""
    known, count = {"kb": kdbench}, 0
    for statement in ast.parse(block).body:
        if isinstance(statement, ast.Assign | ast.Expr):
            value = value_of(statement.value, known)
            count += any(isinstance(node, ast.Name) and node.id in known for node in ast.walk(statement.value))
            if isinstance(statement, ast.Assign):
                known[statement.targets[0].id] = value
    return count


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_what_is_shown_exists_and_takes_these_arguments(block):
    assert check(block) > 0


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("kb.benches([])", AttributeError),
        ("kb.bench([], datas='digits')", TypeError),
        ("run = kb.bench([])\nrun.plots()", AttributeError),
        ("run = kb.bench([])\nrun.ratio('student').intervals", AttributeError),
        ("kb.compare('a', 'b').regression", AttributeError),
        ("kb.judge('a', 'b').verdict", AttributeError),
        ("study = kb.Study.from_toml('a').override()", TypeError),
        ("loss = kb.losses.kd(student) + 1", TypeError),
    ],
)
def test_a_page_that_is_wrong_is_found(wrong, error):
    with pytest.raises(error):
        check(wrong)


def test_all_that_is_public_is_named():
    shown = set(re.findall(r"\bkb\.(\w+)", TEXT))
    assert shown == {*kdbench.__all__} - {"__version__"}


def test_every_loss_is_named():
    named = set(re.findall(r"`(\w+)`", TEXT.partition("## Losses")[2]))
    assert set(kdbench.losses.__all__) <= named
