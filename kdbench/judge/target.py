"""A target: the criteria that a model must meet on a device before it ships, in a TOML file of kdbench or a user."""

import os
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from kdbench.judge.criteria import Criterion, Limit, declared_metric
from kdbench.judge.device import Device
from kdbench.user_input import toml_files
from kdbench.user_input.validation import Value, WrongValueError


class Target(Value):
    """A device and the criteria for a model there.

    `example` says that the numbers are examples. `prefer` lists the metrics that choose the best of several ready
    models: the first metric in its better direction; between equals, the next.
    """

    name: str
    title: str = ""
    note: str = ""
    example: bool = False
    device: Device = Device()
    criteria: tuple[Criterion, ...] = Field(alias="criterion", min_length=1)
    prefer: tuple[str, ...] = ("top1", "rmse", "latency_p50_ns", "size_bytes")

    @field_validator("name")
    @classmethod
    def _is_file_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            message = f"{name!r} cannot be a target's name: its verdicts are stored under that name"
            raise WrongValueError(message, "use letters, digits, dots and dashes")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not any(criterion.required for criterion in self.criteria):
            message = "no criterion is required, so every model would be READY"
            raise WrongValueError(message, "remove `required = false` from at least one")
        for metric in self.prefer:
            declared_metric(metric)
        _raise_on_contradictions(self.limits)
        return self

    @property
    def limits(self) -> tuple[Limit, ...]:
        """All bounds, in the order of the file."""
        return tuple(limit for criterion in self.criteria for limit in criterion.limits)

    @property
    def description(self) -> str:
        """The device's name in a sentence."""
        return self.title or self.name


def shipped_targets() -> dict[str, str]:
    """Return the shipped targets: name to TOML text."""
    return toml_files.shipped(resources.files("kdbench.judge") / "targets")


def targets_of(targets: Iterable[Target | str | Path]) -> list[Target]:
    """Return targets; those given by name or path are loaded by `load_target`. Raises InputError."""
    return [target if isinstance(target, Target) else load_target(target) for target in targets]


def load_target(name_or_path: str | Path) -> Target:
    """Return the shipped target of that name, or the one in the TOML file at that path.

    A target without a `name` has the file's. Raises InputError, which names the key and the nearest known one.
    """
    text, where = toml_files.find(os.fspath(name_or_path), shipped_targets(), "target")
    content = toml_files.parse(text, where)
    return target_from({"name": Path(name_or_path).stem, **content} if content else {}, where)


def target_from(content: Mapping[str, Any], where: str = "the target") -> Target:
    """Validate parsed content as a target; raises InputError."""
    example = "`kdbench list targets`"
    return toml_files.validated(Target, content, where, example=example, document="docs/readiness.md")


def _raise_on_contradictions(limits: tuple[Limit, ...]) -> None:
    """Raise WrongValueError for two limits of one kind on the same number, and for a minimum above the maximum."""
    known: dict[tuple[str, str, frozenset[Any]], Limit] = {}
    for limit in limits:
        number, axes = limit.pair or f"{limit.metric} {limit.checked_metric.unit}", frozenset(limit.axes.items())
        same, opposite = ((number, side, axes) for side in (limit.side, "min" if limit.side == "max" else "max"))
        if same in known:
            first = known[same]
            identical = (first.metric, first.rule) == (limit.metric, limit.rule)
            detail = "" if identical else f": {first.metric} {first.rule} is the same limit"
            message = f"{limit.metric}: {limit.rule} is given twice{detail}"
            raise WrongValueError(message, "keep one, or give them different axes")
        known[same] = limit
        if opposite in known:
            low, high = sorted((limit, known[opposite]), key=lambda bound: bound.side == "max")
            if low.value > high.value:
                least, most = (limit.checked_metric.text(bound.value) for bound in (low, high))
                message = f"{limit.metric}: at least {least} and at most {most} exclude each other"
                raise WrongValueError(message, "swap min and max, or change one of them")
