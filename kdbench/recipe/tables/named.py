"""Tables that name something and hold its options, and the check that no name is used twice."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict


class WithOptions(BaseModel):
    """A table whose further keys are options of the named entry, which validates them."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @property
    def options(self) -> dict[str, Any]:
        """The further keys."""
        return dict(self.model_extra or {})


def require_unique(names: Iterable[str]) -> None:
    """Raise ValueError, with the first of them, if names are used twice."""
    if duplicates := sorted(name for name, count in Counter(names).items() if count > 1):
        raise ValueError(f"the name {duplicates[0]!r} is used twice")
