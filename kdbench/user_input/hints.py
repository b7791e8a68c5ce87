"""Hints of errors for recipes and for Python: options of the command line become keys of tables and arguments."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

from kdbench.errors import KdbenchError
from kdbench.user_input.options import INPUTS, MEASURE, Option

OPTION_IN_TEXT = re.compile(r"--([a-z]+(?:-[a-z]+)*)(=?)")
"""An option in a sentence: its name, and `=` before a value, as in `measure with --threads=1`."""

_KEYS = {option.name: f"measure.{field}" for field, option in MEASURE.items() if field != "estimate_energy"}
_ARGUMENT = re.compile(
    r"--(?P<name>[a-z]+(?:-[a-z]+)*)"
    r"(?: (?P<model>[^\s=,;]+)=(?P<of_model>[^\s,;]+)"
    r"|(?:=| (?=[A-Z0-9]|npz:|folder:|[\w.]+[.:]\w))(?P<value>(?:[^\s,;]|,(?=\d))*[^\s,;.]))?"
)
_COMMAND = re.compile(r"\bkdbench [a-z]|\bpython -m |\bray start ")
_FIELDS = {option.name: (field, option) for table in (INPUTS, MEASURE) for field, option in table.items()}
_SAME = {"out", "name", "teacher"}  # arguments with the names of options
_LISTS = {"torch", "weights"}  # those that are lists of texts
_OF_COMPARE = {"model": "models", "metric": "metrics", "threshold": "thresholds"}
_IN_TURN = re.compile(r"(\w+=\{(?:\"[^\"{}]+\": \{)*)([^{}]*)\}+, \1")  # one argument twice


def as_recipe_keys(hint: str) -> str:
    """Return a hint for a recipe: options of a measurement become keys of its table `[measure]`.

    `--budget` becomes `measure.budget_s`, `--energy=full` becomes `--set measure.energy=full`. `--estimate-energy`
    stays: commands that run recipes have it too.
    """
    return OPTION_IN_TEXT.sub(_as_recipe_key, hint)


def _as_recipe_key(match: re.Match[str]) -> str:
    key = _KEYS.get(match[1])
    if key is None:
        return match[0]
    return f"--set {key}=" if match[2] else key


@contextmanager
def python_hints(inputs: str = "") -> Iterator[None]:
    """Rewrite the hint of an error that leaves the block or function; `inputs` is as in `as_arguments`."""
    try:
        yield
    except KdbenchError as error:
        error.advise(as_arguments(error.hint, inputs))
        raise


def as_arguments(hint: str, inputs: str = "") -> str:
    """Return a hint for Python: options of inputs and of a measurement become arguments of `kdbench.bench`.

    `--scale 1` becomes `scale=1.0`, `--no-accuracy` `accuracy=False`, `--budget=2m` `measure={"budget_s": 120.0}`, and
    `--fill net=0` `models={"net": {"fill": 0}}`. Those of a comparison become arguments of `kdbench.compare`, such as
    `--model a=b` `models={"a": "b"}`. Options in turn become one argument where they are its keys. `inputs` is the
    argument of a function that has one for all inputs except `data`. A hint with a command to type stays.
    """
    if _COMMAND.search(hint):
        return hint
    text, end = "", 0
    for match in _ARGUMENT.finditer(hint):
        argument, between = _as_argument(match, inputs), hint[end : match.start()]
        text += ", " if between == " " and end and argument != match[0] else between
        text, end = text + argument, match.end()
    text += hint[end:]
    while (joined := _IN_TURN.sub(r"\1\2, ", text)) != text:
        text = joined
    return text


def _as_argument(match: re.Match[str], inputs: str) -> str:
    name, typed = match["name"], match["of_model"] or match["value"]
    if name in _LISTS:
        item = f"{match['model']}={typed}" if match["model"] else typed
        return f"{name}=[{_literal(item)}]"
    if name in _SAME:
        return f"{name}={_literal(typed)}"
    if name not in _FIELDS:
        return _argument_of_compare(match)
    field, option = _FIELDS[name]
    rest = ""
    if option.flag is None:
        value = _python_value(field, option, typed)
    else:
        value, rest = str(option.flag), match[0].removeprefix(f"--{name}")
    entry = f'{{"{field}": {value}}}'
    if field in MEASURE:
        return f"measure={entry}{rest}"
    if match["model"]:
        models = f'{{"{match["model"]}": {entry}}}'
        return f'{inputs}={{"models": {models}}}' if inputs else f"models={models}"
    return f"{inputs}={entry}{rest}" if inputs and field != "data" else f"{field}={value}{rest}"


def _argument_of_compare(match: re.Match[str]) -> str:
    name = match["name"]
    if name == "remeasure":
        return match[0].replace("--remeasure", "remeasure=True")
    if name not in _OF_COMPARE:
        return match[0]
    pair = f"{{{_literal(match['model'])}: {_literal(match['of_model'])}}}" if match["model"] else "…"
    return f"{_OF_COMPARE[name]}={pair}"


def _python_value(field: str, option: Option, text: str | None) -> str:
    """Return an option's value as a literal; `…` without one, and a list in place of a file of names."""
    if field == "labels":
        return "[…]"
    if text is None or "…" in text or text.isupper():  # a placeholder
        return _literal(text)
    try:
        value = option.parse(text)
    except (ValueError, OverflowError):  # an example of the form only
        value = text
    return _literal(value) if isinstance(value, str) else repr(value).replace("'", '"')


def _literal(text: str | None) -> str:
    return "…" if text is None or "…" in text else json.dumps(text, ensure_ascii=False)
