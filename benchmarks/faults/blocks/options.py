"""Every numeric option and recipe key, one by one, with numbers that none admits: found by introspection.

A trial may end in any exit code but 4. A recipe that is possible after all may be at work when its time is over.
"""

import inspect
import os
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.faults.blocks.input import UNTIMED, is_at_work, outcome_of
from benchmarks.faults.commands import RECIPE
from benchmarks.faults.forking import forked, load
from benchmarks.faults.material.models import linear
from benchmarks.faults.material.small_record import small_record
from benchmarks.faults.trial import Trial

VALUES = ("nan", "inf", "-inf", "-1", "0", "1e400", "9" * 5000, "", "1" + "0" * 18, "1e-320", "16384", "x")
_MODEL, _RUN = ("m.onnx",), (".",)
_COMMANDS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "bench": (_MODEL, UNTIMED),
    "compress": (_MODEL, ("--out", "out")),
    "macs": (_MODEL, ()),
    "compare": ((".", "."), ()),
    "history": (_RUN, ()),
    "ready": (_RUN, ()),
    "report": (_RUN, ()),
    "show": (_RUN, ()),
    "bundle": ((".", "m.onnx"), ("--target", "server-cpu", "--data", "digits", "--out", "b.zip")),
    "merge": ((".", "m.onnx"), ()),
    "sweep": (("r.toml",), ("--dry-run", "--out", "out")),
    "init": (("new.toml",), ("--data", "digits")),
    "run": (("r.toml",), ("--out", "out")),
    "train": (("r.toml",), ("--out", "out")),
}
_LIMIT_S = 60.0


def trials(folder: Path, seed: int, count: int) -> Iterator[Trial]:
    """Try `count` of all options and keys with all values, in random order."""
    os.environ["KDBENCH_LOCK_DIR"] = str(folder / "locks")
    os.environ["KDBENCH_CACHE"] = str(folder / "cache")
    load()
    every = [(arguments, value) for arguments in (*options(), *keys()) for value in VALUES]
    for number, (arguments, value) in enumerate(random.Random(seed).sample(every, min(count, len(every)))):
        yield one(arguments, value, folder / str(number))
        shutil.rmtree(folder / str(number), ignore_errors=True)


def one(arguments: Sequence[str], value: str, place: Path) -> Trial:
    """Run kdbench in the new folder `place` with `value` in place of `{}` in its arguments."""
    place.mkdir(parents=True)
    (place / "m.onnx").write_bytes(linear().SerializeToString())
    (place / "record.json").write_text(small_text())
    (place / "r.toml").write_text(RECIPE.replace("epochs = 3", "epochs = 1"))
    ended = forked([word.replace("{}", value) for word in arguments], place, _LIMIT_S)
    shown = " ".join(arguments).replace("{}", value[:24])
    return Trial("options", shown, outcome_of(ended), () if is_at_work(ended) else ended.found)


def small_text() -> str:
    """Return a small record as text."""
    import json

    return json.dumps(small_record())


def options() -> Iterator[Sequence[str]]:
    """Yield the arguments of each command with each of its options that takes a value."""
    import typer.main

    from kdbench.cli.application import application

    group: Any = typer.main.get_command(application())
    for name, command in group.commands.items():
        positional, others = _COMMANDS.get(name, ((), ()))
        for parameter in command.params:
            option = parameter.opts[-1]
            if option.startswith("--") and not getattr(parameter, "is_flag", True) and positional:
                yield (name, *positional, f"{option}={{}}", *_without(option, others))


def _without(option: str, words: Sequence[str]) -> Sequence[str]:
    """Return the words of a command without an option and its value."""
    place = words.index(option) if option in words else len(words)
    return (*words[:place], *words[place + 2 :])


def keys() -> Iterator[Sequence[str]]:
    """Yield the arguments that set each numeric key of a recipe, and each numeric setting of what it names."""
    from kdbench.compress import COMPRESSORS
    from kdbench.distill.methods import METHODS
    from kdbench.models import MODELS
    from kdbench.recipe import Recipe

    schema = Recipe.model_json_schema()
    settings = [f"{path}={{}}" for path in dict.fromkeys(_numeric(schema, schema["$defs"]))]
    for registry, table in (
        (METHODS, 'student.0.terms=[{{method = "{name}", {key} = {{}}}}]'),
        (MODELS, 'student.0.model={{name = "{name}", {key} = {{}}}}'),
        (COMPRESSORS, 'variant=[{{of = "student", method = "{name}", {key} = {{}}}}]'),
    ):
        for name in registry.names():
            settings += [table.format(name=name, key=key) for key in _numbers_of(registry.get(name))]
    yield from (("train", "r.toml", "--out", "out", "--set", setting) for setting in settings)


def _numeric(node: Mapping[str, Any], defs: Mapping[str, Any], path: str = "", depth: int = 0) -> Iterator[str]:
    """Yield the dotted paths of the numbers in a JSON Schema."""
    if depth > 12:
        return
    if "$ref" in node:
        node = defs[node["$ref"].rpartition("/")[2]]
    if node.get("type") in {"number", "integer"}:
        yield path
    for kind in ("anyOf", "oneOf", "allOf"):
        for alternative in node.get(kind, ()):
            yield from _numeric(alternative, defs, path, depth + 1)
    for key, inner in node.get("properties", {}).items():
        yield from _numeric(inner, defs, f"{path}.{key}".lstrip("."), depth + 1)
    for inner in (node["items"],) if isinstance(node.get("items"), dict) else node.get("prefixItems", ()):
        yield from _numeric(inner, defs, f"{path}.0", depth + 1)


def _numbers_of(entry: Any) -> Iterator[str]:
    """Yield the parameters of a class or a function whose defaults are numbers."""
    parameters = inspect.signature(entry).parameters
    described = parameters["options"].annotation if "options" in parameters else entry
    known = getattr(described, "model_fields", parameters)
    for name, one in known.items():
        if isinstance(one.default, int | float) and not isinstance(one.default, bool):
            yield name
