"""What every table of a recipe is: a frozen value that refuses unknown keys, and how one table overrides another."""

from collections.abc import Mapping
from typing import Any

from kdbench.toml_files import Section

__all__ = ["Section", "merged"]


def merged(base: Any, over: Any) -> Any:
    """Return `base` with what `over` says put over it, key by key; whatever is no table is replaced whole."""
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    return {**base, **{key: merged(base.get(key), value) for key, value in over.items()}}
