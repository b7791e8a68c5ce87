"""The `[[variant]]` tables: models compressed after training."""

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import Field

from kdbench.recipe.tables.named import WithOptions
from kdbench.registry import suggestion
from kdbench.user_input.options import CALIBRATION_COUNT
from kdbench.user_input.validation import NAME


class Variant(WithOptions):
    """A model compressed by a method: `of` names a teacher, a student or another variant.

    Every other key is a setting of the method. The variant is compared with the model that it comes from. Its name is
    `{of}-{method}` unless it has one. A method that calibrates takes `calibration_count` random samples of the training
    part, drawn with `calibration_seed`. `family` and `axes` name the sweep, and the point of the sweep, that the entry
    comes from.

        [[variant]]
        of = "student-kd"
        method = "int8"
        calibrator = "mse"
    """

    of: str
    method: str
    name: str = Field(pattern=NAME, max_length=80)
    calibration_count: int = Field(default=CALIBRATION_COUNT, ge=1, le=1_000_000)
    calibration_seed: int = Field(default=0, ge=0, lt=2**32)
    family: str | None = None
    axes: dict[str, str | int | float | bool] = Field(default_factory=dict)


def with_name(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a variant's table with a name; it may be any value that a recipe holds there."""
    of, method = entry.get("of"), entry.get("method")
    if "name" in entry or not isinstance(of, str) or not isinstance(method, str):
        return entry
    return {"name": f"{of}-{method}", **entry}


def in_order(variants: Iterable[Variant], models: Sequence[str]) -> tuple[Variant, ...]:
    """Return the variants of `models`, by name, each after the one it comes from.

    Raises ValueError for a variant of a model that does not exist, or of itself.
    """
    waiting, done = list(variants), set(models)
    names = [*models, *(variant.name for variant in waiting)]
    ordered: list[Variant] = []
    known = set(names)
    for variant in waiting:
        if variant.of not in known:
            others = [name for name in names if name != variant.name]
            hint = suggestion(variant.of, others, f"it has {', '.join(others)}")
            raise ValueError(f"variant {variant.name!r} is of {variant.of!r}, which the recipe does not have; {hint}")
    while waiting:
        ready = [variant for variant in waiting if variant.of in done]
        if not ready:
            raise ValueError(f"variant {waiting[0].name!r} is a variant of itself, directly or through others")
        ordered += ready
        waiting = [variant for variant in waiting if variant.of not in done]
        done |= {variant.name for variant in ready}
    return tuple(ordered)
