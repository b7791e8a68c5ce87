"""Errors about a teacher's file, which name options of `kdbench bench`, with the keys of a recipe instead."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from kdbench.errors import InputError
from kdbench.workflows.study.plan import Job

_OPTION = re.compile(r"--([a-z-]+)(?:=(\w+)| (\d+|FILE|RGB|grey)\b)?")


def _as_recipe_key(option: re.Match[str]) -> str:
    """Return an option of `kdbench bench`, with its value if it has one, as a key of a recipe."""
    name, value = option[1].replace("-", "_"), option[2] or option[3]
    key = "data.layout" if name == "data_layout" else f"input.{name}"
    if value is None:
        return key
    return f"{key} = {value}" if value.isdecimal() else f'{key} = "{value}"'


@contextmanager
def naming_recipe_keys(job: Job) -> Iterator[None]:
    """Replace the options of `kdbench bench` in errors about a teacher's file by the keys of its `input` table."""
    try:
        yield
    except InputError as error:
        hint = error.hint.replace("--labels MODEL=FILE", "labels in the table [teacher.input]")
        hint = _OPTION.sub(_as_recipe_key, hint.replace(", and --no-accuracy measures the rest", ""))
        name = job.entry.name
        message = error.message if name in error.message else f"{name}: {error.message}"
        raise type(error)(message, hint) from error
