"""The keyword arguments about models' inputs: the data set, and its preprocessing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from kdbench.errors import InputError
from kdbench.recipe import InputOptions, Measure
from kdbench.results.preprocessing import InputSpec
from kdbench.user_input.arguments import check
from kdbench.user_input.validation import validated


class Inputs(TypedDict, total=False):
    """The data on which models are scored, and its preprocessing; the keys are those of `InputOptions`."""

    data: str | None
    data_root: str | Path | None
    download: bool
    accuracy: bool
    models: Mapping[str, InputSpec | Mapping[str, Any]]
    scale: float | None
    mean: float | Sequence[float] | None
    std: float | Sequence[float] | None
    channel_order: str | None
    colour: str | None
    layout: str | None
    size: int | tuple[int, int] | None
    resize: int | None
    crop: int | tuple[int, int] | None
    resize_mode: str | None
    crop_pct: float | None
    interpolation: str | None
    antialias: bool | None
    fill: int | None
    input_scale: float | None
    input_zero_point: int | None
    geometry: Any
    data_layout: str | None
    channel_axis: int | None
    output: str | None
    labels: Sequence[str] | None
    torchvision: str | None


def input_options(keywords: Mapping[str, Any]) -> InputOptions:
    """Return `keywords`, with the keys of `Inputs`, as options; raises InputError for a wrong key or value."""
    values = dict(keywords)
    if misplaced := [key for key in values if key in Measure.model_fields and key not in Inputs.__annotations__]:
        hint = f"it is a key of `measure`: measure=kdbench.Measure({misplaced[0]}=…)"
        raise InputError(f"unknown key {misplaced[0]!r}", hint)
    check(values, Inputs.__annotations__)
    if values.get("data_root") is not None:
        values["data_root"] = str(values["data_root"])
    return validated(InputOptions, values, "help(kdbench.bench) explains its arguments")
