"""The candidates of a record: the models that may replace the teacher."""

from collections.abc import Sequence

from kdbench.errors import InputError
from kdbench.registry import suggestion
from kdbench.results.cards import ModelCard, seed_groups
from kdbench.results.records import RunRecord

_TIMED = "latency_p50_ns"


def candidates(record: RunRecord, models: Sequence[str] | None = None) -> list[ModelCard]:
    """Return the models to judge: those named, by id or name, or else all but the teachers, if there are others.

    A model that was trained with several seeds is represented by the seed that was timed, or else by the first: that
    file would ship. Raises InputError for a name that the record does not have, and for a record without models.
    """
    if not record.models:
        raise InputError("the record has no models to judge", "measure some: `kdbench bench MODEL…`")
    if models:
        return list({card.id: card for name in models for card in _named(record, name)}.values())
    return _one_per_seed_group(record, besides_teachers(record.models))


def besides_teachers(cards: Sequence[ModelCard]) -> Sequence[ModelCard]:
    """Return the models that are not teachers; where there are none, all models: each is its own reference."""
    return [card for card in cards if card.role != "teacher"] or cards


def _named(record: RunRecord, name: str) -> list[ModelCard]:
    if name in record.cards:
        return [record.cards[name]]
    cards = [card for card in record.models if card.name == name]
    if not cards:
        known = list(dict.fromkeys(word for card in record.models for word in (card.name, card.id)))
        raise InputError(f"the record has no model {name!r}", suggestion(name, known))
    return _one_per_seed_group(record, cards)


def _one_per_seed_group(record: RunRecord, cards: Sequence[ModelCard]) -> list[ModelCard]:
    timed = {m.model for m in record.measurements if m.metric == _TIMED and m.value is not None}
    return [next((card for card in group if card.id in timed), group[0]) for group in seed_groups(cards)]
