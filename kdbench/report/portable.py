"""Text and recipes for publication: without the paths of the machine that wrote them."""

import re
from collections.abc import Mapping
from typing import Any

# Kernel interfaces have the same names on every machine, and reasons such as "/sys/class/powercap is empty" need them.
# The look-behind excludes URLs, relative paths and words such as "images/s".
_ABSOLUTE = re.compile(r"(?<![\w./~-])(?!/(?:sys|proc|dev)/)(?:/[\w.@+~-]+)+/([\w.@+~-]+)/?")
_WINDOWS = re.compile(r"(?<!\w)[A-Za-z]:\\(?:[^\s\\\"']+\\)*([^\s\\\"']+)")


def portable(text: str) -> str:
    """Return `text` with every absolute path shortened to its last part."""
    return _WINDOWS.sub(r"\1", _ABSOLUTE.sub(r"\1", text))


def portable_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved recipe for TOML, without machine-specific values.

    Keys without a value are left out (TOML has no null; absence means the same), and so is `data.root`. A model's
    training keeps only the keys that differ from the shared training, which it inherits.
    """
    content: dict[str, Any] = _without_none(recipe)
    shared = content.get("training", {})
    for role in ("teacher", "student"):
        content[role] = [_inheriting(entry, shared) for entry in content.get(role, [])]
    if isinstance(data := content.get("data"), dict):
        data.pop("root", None)
        data["name"] = portable(str(data.get("name", "")))  # folder:PATH and npz:PATH
    return content


def _inheriting(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return a teacher's or student's table with only the training keys that it overrides."""
    overrides = _differing(entry.get("training", {}), shared)
    rest = {key: value for key, value in entry.items() if key != "training"}
    return {**rest, "training": overrides} if overrides else rest


def _differing(values: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of `values`, at any depth, whose values differ from those of `shared`."""
    return {
        key: _differing(value, shared[key]) if isinstance(value, Mapping) and key in shared else value
        for key, value in values.items()
        if key not in shared or value != shared[key]
    }


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_without_none(inner) for inner in value if inner is not None]
    return value
