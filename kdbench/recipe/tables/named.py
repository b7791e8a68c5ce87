"""Tables that name something and hold its options."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class WithOptions(BaseModel):
    """A table whose further keys are options of the named entry, which validates them."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @property
    def options(self) -> dict[str, Any]:
        """The further keys."""
        return dict(self.model_extra or {})
