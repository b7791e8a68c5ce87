"""The pages of the reference, generated from the code: commands, keys of a recipe, metrics, names and Python API."""

import inspect
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import kdbench
from kdbench import recipe
from kdbench.api import PUBLIC_MEMBERS
from kdbench.cli.application import application
from kdbench.results.metrics import METRICS, PAIR_METRICS, Metric

_HIDDEN = {"--install-completion", "--show-completion", "--help"}


def pages() -> dict[str, str]:
    """Return the Markdown of each page by file name."""
    return {"commands.md": commands(), "recipe.md": recipe_keys(), "metrics.md": metrics(), "api.md": api()}


def commands() -> str:
    """Return the page of all commands with their arguments and options."""
    group = typer.main.get_command(application())
    assert isinstance(group, typer.core.TyperGroup)
    sections = [_command(name, command) for name, command in group.commands.items()]
    return "\n\n".join(["# Commands", "Every command has `--help`. " + (group.epilog or ""), *sections]) + "\n"


def recipe_keys() -> str:
    """Return the page of the recipe's tables: each key with its type and default."""
    tables = [
        value
        for name in recipe.__all__
        if inspect.isclass(value := getattr(recipe, name)) and issubclass(value, BaseModel)
        if value is not recipe.InputOptions
    ]
    intro = "The types of a recipe's tables. [Recipes](../docs/recipes.md) explains each key."
    return "\n\n".join(["# Keys of a recipe", intro, *map(_model, tables)]) + "\n"


def metrics() -> str:
    """Return the page of all metrics: id, unit, better direction and formula."""
    intro = "The ids are those in `record.json`, in targets and in options. Times are in ns, shares between 0 and 1."
    return "\n\n".join([
        "# Metrics", intro,
        "## Of a model", _metrics(METRICS.values()),
        "## Of a student and its teacher", _metrics(PAIR_METRICS.values()),
    ]) + "\n"  # fmt: skip


def api() -> str:
    """Return the page of the public Python names, for mkdocstrings to fill."""
    blocks = [_documented(name) for name in kdbench.__all__ if not name.startswith("_")]
    intro = "`import kdbench` loads a name's module when the name is used."
    return "\n\n".join(["# Python API", intro, *blocks]) + "\n"


def _documented(name: str) -> str:
    """Return the block of a name; of a value, those of its members that are public."""
    chosen = PUBLIC_MEMBERS.get(name)
    options = {} if chosen is None else {"members": list(chosen) or False, "inherited_members": bool(chosen)}
    lines = [f"      {key}: {json.dumps(value)}" for key, value in options.items()]
    return "\n".join([f"::: {_path(name)}", *(["    options:"] if lines else []), *lines])


def _path(name: str) -> str:
    return f"{kdbench._MODULES[name]}.{name}"  # noqa: SLF001 - a package of that name may have been imported


def _command(name: str, command: Any) -> str:
    context = command.make_context(f"kdbench {name}", [], resilient_parsing=True)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    rows = [row for parameter in command.params if (row := _parameter(parameter, context))]
    text = re.sub(r"^Example: (.+)$", r"Example: `\1`", inspect.cleandoc(command.help or ""), flags=re.MULTILINE)
    return "\n\n".join([f"## {name}", f"```\n{usage}\n```", text, _table(("", ""), rows)])


def _parameter(parameter: Any, context: Any) -> tuple[str, str] | None:
    record = parameter.get_help_record(context)
    if record is None or _HIDDEN & {*parameter.opts}:
        return None
    name = re.sub(r" <.*>$", "", record[0]) if parameter.param_type_name == "argument" else record[0]
    return f"`{name}`{{ .option }}", record[1]


def _model(model: type[BaseModel]) -> str:
    rows = [
        (f"`{field.alias or name}`", f"`{_type(field.annotation)}`", _default(field.default, field.default_factory))
        for name, field in model.model_fields.items()
    ]
    text = inspect.cleandoc(model.__doc__ or "")
    return "\n\n".join([f"## {model.__name__}", text, _table(("key", "type", "default"), rows)])


def _type(annotation: Any) -> str:
    """Return a type as a value in TOML: without modules and the limits that a validator enforces.

    TOML has no null: a key that may be None may be left out.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(_toml, arguments))
    if origin is Annotated:
        return _type(arguments[0])
    inner = [_type(one) for one in arguments if one not in {..., NoneType}]
    if origin in {Union, UnionType}:
        text = " | ".join(inner)
    elif origin is tuple:
        text = f"[{', '.join(inner)}{', …' * (... in arguments)}]"
    elif origin in {dict, Mapping}:
        text = f"{{ name = {inner[1]}, … }}"
    else:
        text = str(getattr(annotation, "__name__", annotation))
    return text


def _default(default: Any, factory: Any) -> str:
    if factory is not None:
        return f"`{factory()!r}`"
    return "required" if default is PydanticUndefined else "" if default is None else f"`{_toml(default)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, BaseModel):
        keys = ", ".join(f"{key} = {_toml(getattr(value, key))}" for key in value.model_fields_set)
        return f"{{ {keys} }}" if keys else "{}"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _metrics(declared: Iterable[Metric]) -> str:
    rows = [(f"`{m.id}`", m.title, m.unit, "higher" if m.higher_is_better else "lower", m.formula) for m in declared]
    return _table(("id", "title", "unit", "better", "formula"), rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    text = " ".join(text.split()).replace("|", "\\|")
    return text if "`" in text else text.replace("<", "&lt;")
