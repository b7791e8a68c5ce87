"""What a model was trained with, as far as its record tells: from the recipe as it ran, and from the card."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kdbench.report.subjects import ModelGroup
from kdbench.results.records import RunRecord

_TEMPERATURE = re.compile(r"\bT = (\d+(?:\.\d+)?)")  # as an objective states it, a method's default included
_DENSE = re.compile(r"\d+(?:-\d+)+")


@dataclass(frozen=True)
class Settings:
    """Settings of one training; None where the record does not tell.

    `epochs` are those that were trained, `temperature` that of the first term that has one; `mixup` tells whether
    images were mixed.
    """

    epochs: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    temperature: float | None = None
    mixup: bool | None = None


def settings(record: RunRecord, subject: ModelGroup) -> Settings:
    """Return what the models of a subject were trained with; that of the first seed."""
    card = subject.cards[0]
    entry = _entry(record, subject.label)
    training = _table(entry, "training")
    augment = _table(_table(entry, "data"), "augment")
    stated = _TEMPERATURE.search(card.training.objective) if card.training else None
    return Settings(
        epochs=card.training.epochs if card.training else None,
        batch=training.get("batch"),
        learning_rate=_table(training, "optimizer").get("lr"),
        temperature=float(stated[1]) if stated else None,
        mixup=bool(augment.get("mixup")) if "mixup" in augment else None,
    )


def dataset(record: RunRecord) -> str | None:
    """Return the name of the data set that a run's recipe names; None where there is no recipe."""
    name = _table(record.recipe or {}, "data").get("name")
    return str(name) if name else None


def network(subject: ModelGroup) -> str:
    """Return in words which network a subject is: its architecture with its options, without what it was taught."""
    card = subject.cards[0]
    if card.architecture is None:
        return subject.label
    options = ", ".join(f"{key} {_plain(value)}" for key, value in card.options.items())
    return f"{card.architecture} ({options})" if options else card.architecture


def hidden_sizes(subject: ModelGroup) -> str | None:
    """Return the sizes of the hidden layers of a dense network such as 784-300-10; None for any other."""
    architecture = subject.cards[0].architecture or ""
    return "-".join(architecture.split("-")[1:-1]) or "0" if _DENSE.fullmatch(architecture) else None


def is_taught(subject: ModelGroup) -> bool:
    """Return whether a student listened to a teacher, rather than to the labels alone."""
    return bool(subject.cards[0].teachers)


def _entry(record: RunRecord, name: str) -> Mapping[str, Any]:
    entries = [entry for role in ("teacher", "student") for entry in (record.recipe or {}).get(role, ())]
    return next((entry for entry in entries if entry.get("name") == name), {})


def _table(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = content.get(key)
    return found if isinstance(found, Mapping) else {}


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(_plain(each) for each in value.values())
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
