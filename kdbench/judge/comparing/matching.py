"""Which model of one record is which of the other."""

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
        """Whether it is the very same file."""
        return self.base.sha256 == self.new.sha256


@dataclass(frozen=True)
class Matched:
    """The models that both have, in the new one's order, and the ids of those that only one has.

    Of the base's these are the candidates that were `lost`, and `teachers` that served for comparison only.
    """

    pairs: tuple[Match, ...]
    lost: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


def match(base: Sequence[ModelCard], new: Sequence[ModelCard], chosen: Mapping[str, str] | None = None) -> Matched:
    """Match models by name, whatever their roles, and seed by seed where a name has several.

    `chosen` says which alone, names or ids of the base and what they are called in the new one. Without it, two
    records with one model each besides teachers have these matched whatever their names. Raises InputError where a
    chosen model is not there or nothing matches.
    """
    if chosen:
        pairs = [
            pair
            for before, after in chosen.items()
            for pair in _seed_by_seed(_called(before, base, "base"), _called(after, new, "new run"))
        ]
        if not pairs:
            raise InputError("the models that were named have no seed in common", "name single ones by their ids")
        return Matched(tuple(pairs))
    names = dict.fromkeys(card.name for card in new)
    pairs = [p for name in names for p in _seed_by_seed(_named(name, base), _named(name, new))]
    pairs += _alone(_left(base, [p.base for p in pairs]), _left(new, [p.new for p in pairs]), base, new)
    if not pairs:
        raise InputError(
            f"no model is in both: {_list(base)} in the base, {_list(new)} in the new one",
            "say which is which with --model BASE=NEW",
        )
    order = {card.id: number for number, card in enumerate(new)}
    left, candidates = _left(base, [p.base for p in pairs]), besides_teachers(base)
    return Matched(
        tuple(sorted(pairs, key=lambda pair: order[pair.new.id])),
        lost=tuple(card.id for card in left if card in candidates),
        teachers=tuple(card.id for card in left if card not in candidates),
        added=tuple(card.id for card in _left(new, [p.new for p in pairs])),
    )


def _alone(
    left_base: Sequence[ModelCard], left_new: Sequence[ModelCard], base: Sequence[ModelCard], new: Sequence[ModelCard]
) -> list[Match]:
    """Return the one candidate of each record as a pair, where neither has another."""
    before, after = besides_teachers(base), besides_teachers(new)
    names = {card.name for card in before}, {card.name for card in after}
    if any(len(each) != 1 for each in names):
        return []
    return _seed_by_seed([c for c in before if c in left_base], [c for c in after if c in left_new])


def _seed_by_seed(base: Sequence[ModelCard], new: Sequence[ModelCard]) -> list[Match]:
    if len(base) == len(new) == 1:
        return [Match(base[0], new[0])]
    by_seed = {card.seed: card for card in base}
    return [Match(by_seed[card.seed], card) for card in new if card.seed in by_seed]


def _called(name: str, cards: Sequence[ModelCard], where: str) -> list[ModelCard]:
    """Return the card with that id, or those of that name."""
    found = [card for card in cards if card.id == name] or _named(name, cards)
    if not found:
        known = [*dict.fromkeys(card.name for card in cards)]
        raise InputError(f"the {where} has no model {name!r}", suggestion(name, known))
    return found


def _named(name: str, cards: Sequence[ModelCard]) -> list[ModelCard]:
    return [card for card in cards if card.name == name]


def _left(cards: Sequence[ModelCard], taken: Sequence[ModelCard]) -> list[ModelCard]:
    ids = {card.id for card in taken}
    return [card for card in cards if card.id not in ids]


def _list(cards: Sequence[ModelCard]) -> str:
    return ", ".join(dict.fromkeys(card.name for card in cards)) or "none"
