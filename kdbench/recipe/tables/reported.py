"""The `[[reported]]` tables: numbers that a study reports, with which the report compares this run's numbers."""

from collections.abc import Collection
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from kdbench import units
from kdbench.errors import InputError
from kdbench.registry import suggestion
from kdbench.results.metrics import metric
from kdbench.user_input.validation import Value


class Reported(Value):
    """A number of a study: the `value` of a `metric` of the recipe's `model`, and where the study states it.

    `metric` is one of a model or of its pair with its teacher. With `minus` (another model), the number is the
    difference of the two models' values: in percentage points for a share, otherwise in the metric's unit. `value` may
    be a text with a unit, such as "93.1 %" or "1.2 points", and becomes a number. `about` says what the study did
    differently.

        [[reported]]
        model = "student-kd"
        metric = "top1"
        value = "97.8 %"
        source = "table 2"
    """

    model: str
    metric: str
    value: float
    minus: str | None = None
    axes: dict[str, str | int] = Field(default_factory=dict)
    source: str = Field(default="", max_length=200)
    about: str = Field(default="", max_length=200)

    @field_validator("metric")
    @classmethod
    def _declared(cls, value: str) -> str:
        try:
            metric(value)
        except InputError as error:
            raise ValueError(f"{error.message}: {error.hint}") from error
        return value

    @model_validator(mode="before")
    @classmethod
    def _with_number(cls, value: Any) -> Any:
        """Read a value with a unit, which depends on the metric."""
        if not isinstance(value, dict) or not isinstance(text := value.get("value"), str):
            return value
        try:
            declared = metric(str(value.get("metric")))
        except InputError:
            return value  # the metric's own error is clearer
        points = declared.in_points and value.get("minus") is not None
        return {**value, "value": units.parse(text, "points" if points else declared.unit)}

    @model_validator(mode="after")
    def _two_models(self) -> Self:
        if self.minus == self.model:
            raise ValueError(f"minus: {self.model!r} is the model itself; name another one")
        return self

    def check(self, models: Collection[str]) -> None:
        """Raise ValueError if the recipe, whose models are `models`, does not have one that this names."""
        for name in filter(None, (self.model, self.minus)):
            if name not in models:
                hint = suggestion(name, list(models), "name a teacher, a student or a variant")
                raise ValueError(
                    f"reported {self.metric} is of the model {name!r}, which the recipe does not have; {hint}"
                )
