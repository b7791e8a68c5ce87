"""Match the models of two records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kdbench.errors import InputError
from kdbench.judge.candidates import besides_teachers
from kdbench.registry import suggestion
from kdbench.results.cards import ModelCard


@dataclass(frozen=True)
class Match:
    """A model before and after."""

    base: ModelCard
    new: ModelCard

    @property
    def same_file(self) -> bool:
        """Whether both are the same file."""
        return self.base.sha256 == self.new.sha256


@dataclass(frozen=True)
class Matched:
    """The models that both records have, in the new one's order, and the ids of those that only one has.

    Of the base's models `lost` are candidates, and `teachers` are those that served for comparison only.
    """

    pairs: tuple[Match, ...]
    lost: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


def match_models(
    base: Sequence[ModelCard], new: Sequence[ModelCard], chosen: Mapping[str, str] | None = None
) -> Matched:
    """Match models by name, whatever their roles, and seed by seed where a name has several.

    `chosen` names the only models to match: names or ids of the base, and their names in the new record. Without it,
    records that have one candidate each have these matched whatever their names. Raises InputError where a chosen
    model does not exist or nothing matches.
    """
    if chosen:
        pairs = [
            pair
            for before, after in chosen.items()
            for pair in _by_seed(_with_id_or_name(before, base, "base"), _with_id_or_name(after, new, "new run"))
        ]
        if not pairs:
            raise InputError("the models that were named have no seed in common", "name single ones by their ids")
        return Matched(tuple(pairs))
    names = dict.fromkeys(card.name for card in new)
    pairs = [pair for name in names for pair in _by_seed(_named(name, base), _named(name, new))]
    unmatched_base, unmatched_new = _unmatched(base, [p.base for p in pairs]), _unmatched(new, [p.new for p in pairs])
    pairs += _only_candidates(unmatched_base, unmatched_new, base, new)
    if not pairs:
        raise InputError(
            f"no model is in both: {_list(base)} in the base, {_list(new)} in the new one",
            "say which is which with --model BASE=NEW",
        )
    order = {card.id: number for number, card in enumerate(new)}
    unmatched, candidates = _unmatched(base, [p.base for p in pairs]), besides_teachers(base)
    return Matched(
        tuple(sorted(pairs, key=lambda pair: order[pair.new.id])),
        lost=tuple(card.id for card in unmatched if card in candidates),
        teachers=tuple(card.id for card in unmatched if card not in candidates),
        added=tuple(card.id for card in _unmatched(new, [p.new for p in pairs])),
    )


def _only_candidates(
    unmatched_base: Sequence[ModelCard],
    unmatched_new: Sequence[ModelCard],
    base: Sequence[ModelCard],
    new: Sequence[ModelCard],
) -> list[Match]:
    """Match the one candidate of each record, where neither has another."""
    before, after = besides_teachers(base), besides_teachers(new)
    if len({card.name for card in before}) != 1 or len({card.name for card in after}) != 1:
        return []
    return _by_seed([c for c in before if c in unmatched_base], [c for c in after if c in unmatched_new])


def _by_seed(base: Sequence[ModelCard], new: Sequence[ModelCard]) -> list[Match]:
    if len(base) == len(new) == 1:
        return [Match(base[0], new[0])]
    by_seed = {card.seed: card for card in base}
    return [Match(by_seed[card.seed], card) for card in new if card.seed in by_seed]


def _with_id_or_name(name: str, cards: Sequence[ModelCard], record: str) -> list[ModelCard]:
    """Return the card with that id, or those of that name; raises InputError where there is none."""
    matching = [card for card in cards if card.id == name] or _named(name, cards)
    if not matching:
        known = [*dict.fromkeys(card.name for card in cards)]
        raise InputError(f"the {record} has no model {name!r}", suggestion(name, known))
    return matching


def _named(name: str, cards: Sequence[ModelCard]) -> list[ModelCard]:
    return [card for card in cards if card.name == name]


def _unmatched(cards: Sequence[ModelCard], matched: Sequence[ModelCard]) -> list[ModelCard]:
    ids = {card.id for card in matched}
    return [card for card in cards if card.id not in ids]


def _list(cards: Sequence[ModelCard]) -> str:
    return ", ".join(dict.fromkeys(card.name for card in cards)) or "none"
