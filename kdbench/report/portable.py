"""Text for other people's eyes: without the paths of the machine that wrote it."""

import re
from collections.abc import Mapping
from typing import Any

# Kernel interfaces are named the same on every machine, and a reason such as "/sys/class/powercap is empty" needs
# them. The look-behind spares URLs, relative paths and words such as "images/s".
_ABSOLUTE = re.compile(r"(?<![\w./~-])(?!/(?:sys|proc|dev)/)(?:/[\w.@+~-]+)+/([\w.@+~-]+)/?")
_WINDOWS = re.compile(r"(?<!\w)[A-Za-z]:\\(?:[^\s\\\"']+\\)*([^\s\\\"']+)")


def portable(text: str) -> str:
    """Return `text` with every absolute path shortened to its last part."""
    return _WINDOWS.sub(r"\1", _ABSOLUTE.sub(r"\1", text))


def portable_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved recipe as TOML can hold it, without what belongs to one machine.

    Keys without a value are left out (TOML has no null; left out means the same), and so is `data.root`.
    """
    content: dict[str, Any] = _without_none(recipe)
    if isinstance(data := content.get("data"), dict):
        data.pop("root", None)
        data["name"] = portable(str(data.get("name", "")))  # folder:PATH and npz:PATH
    return content


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_without_none(inner) for inner in value if inner is not None]
    return value
