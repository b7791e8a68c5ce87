"""What every table of a recipe is: a frozen value that refuses unknown keys, and how one table overrides another."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def merged(base: Any, over: Any) -> Any:
    """Return `base` with what `over` says put over it, key by key; whatever is no table is replaced whole."""
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    return {**base, **{key: merged(base.get(key), value) for key, value in over.items()}}
