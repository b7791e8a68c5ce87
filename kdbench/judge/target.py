"""What a model must keep to on a device before it may ship: a TOML file, shipped or a user's own."""

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from kdbench import toml_files
from kdbench.judge.criteria import Criterion, Limit, known_metric
from kdbench.judge.device import Device
from kdbench.validation import Value, WrongValueError


class Target(Value):
    """A device and what is asked of a model there.

    `example` says that the numbers are examples. `prefer` are the metrics by which the best of several models that
    are ready is chosen: by the first, in its better direction; where that is the same, by the next.
    """

    name: str
    title: str = ""
    note: str = ""
    example: bool = False
    device: Device = Device()
    criteria: tuple[Criterion, ...] = Field(alias="criterion", min_length=1)
    prefer: tuple[str, ...] = ("top1", "latency_p50_ns", "size_bytes")

    @field_validator("name")
    @classmethod
    def _names_a_file(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            message = f"{name!r} cannot be a target's name: its verdicts are kept in files called so"
            raise WrongValueError(message, "letters, digits, dots and dashes make a name")
        return name

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if not any(criterion.required for criterion in self.criteria):
            message = "no criterion is required, so every model would be ready"
            raise WrongValueError(message, "leave `required = false` out of one at least")
        for metric in self.prefer:
            known_metric(metric)
        _refuse_contradictions(self.limits)
        return self

    @property
    def limits(self) -> tuple[Limit, ...]:
        """All bounds, in the order of the file."""
        return tuple(limit for criterion in self.criteria for limit in criterion.limits)

    @property
    def in_words(self) -> str:
        """What to call the device in a sentence."""
        return self.title or self.name


def shipped_targets() -> dict[str, str]:
    """Return the shipped targets: name to TOML text."""
    return toml_files.shipped(resources.files("kdbench.judge") / "targets")


def load_target(name_or_path: str) -> Target:
    """Return the shipped target of that name, or the one in the TOML file at that path.

    A file without a `name` is called as the file is. Raises InputError, which names the key and the nearest known one.
    """
    text, where = toml_files.find(name_or_path, shipped_targets(), "target")
    content = toml_files.parse(text, where)
    return target_from({"name": Path(name_or_path).stem, **content} if content else {}, where)


def target_from(content: Mapping[str, Any], where: str = "the target") -> Target:
    """Validate parsed content as a target; raises InputError."""
    example = "`kdbench list targets`"
    return toml_files.validated(Target, content, where, example=example, document="docs/readiness.md")


def _refuse_contradictions(limits: tuple[Limit, ...]) -> None:
    """Refuse two limits of one kind on the same number, and a least that lies above the most."""
    known: dict[tuple[str, str, frozenset[Any]], Limit] = {}
    for limit in limits:
        about = (limit.pair or f"{limit.metric} {limit.held_against.unit}", frozenset(limit.axes.items()))
        own, other = ((about[0], side, about[1]) for side in (limit.side, "min" if limit.side == "max" else "max"))
        if own in known:
            message = f"{limit.metric}: {limit.rule} is given twice{_beside(known[own], limit)}"
            raise WrongValueError(message, "keep one, or give them different axes")
        known[own] = limit
        if other in known:
            low, high = sorted((limit, known[other]), key=lambda each: each.side == "max")
            if low.value > high.value:
                write = limit.held_against.text
                message = (
                    f"{limit.metric}: at least {write(low.value)} and at most {write(high.value)} exclude each other"
                )
                raise WrongValueError(message, "were min and max mixed up?")


def _beside(one: Limit, other: Limit) -> str:
    same = (one.metric, one.rule) == (other.metric, other.rule)
    return "" if same else f": {one.metric} {one.rule} asks the same"
