"""Which of a record's models may replace the teacher: those that a verdict is about."""

from collections.abc import Sequence

from kdbench.errors import InputError
from kdbench.registry import suggestion
from kdbench.results.cards import ModelCard, seed_groups
from kdbench.results.records import RunRecord

_TIMED = "latency_p50_ns"


def candidates(record: RunRecord, models: Sequence[str] | None = None) -> list[ModelCard]:
    """Return the models to judge: those named, by id or name, or else all but the teachers, if there are others.

    Of a model that was trained with several seeds it is the one that was timed, or else the first: that file would
    ship. Raises InputError for a name that the record does not have, and for a record without models.
    """
    if not record.models:
        raise InputError("the record has no models to judge", "measure some: `kdbench bench MODEL…`")
    if models:
        return list({card.id: card for name in models for card in _named(record, name)}.values())
    return _of_each_name(record, besides_teachers(record.models))


def besides_teachers(cards: Sequence[ModelCard]) -> Sequence[ModelCard]:
    """Return the models besides teachers; where there are no others, all of them: each is its own reference."""
    return [card for card in cards if card.role != "teacher"] or cards


def _named(record: RunRecord, name: str) -> list[ModelCard]:
    if name in record.cards:
        return [record.cards[name]]
    found = [card for card in record.models if card.name == name]
    if not found:
        known = list(dict.fromkeys(word for card in record.models for word in (card.name, card.id)))
        raise InputError(f"the record has no model {name!r}", suggestion(name, known))
    return _of_each_name(record, found)


def _of_each_name(record: RunRecord, cards: Sequence[ModelCard]) -> list[ModelCard]:
    """Return one card of those that differ in their seed alone, and all others."""
    timed = {m.model for m in record.measurements if m.metric == _TIMED and m.value is not None}
    return [next((card for card in group if card.id in timed), group[0]) for group in seed_groups(cards)]
