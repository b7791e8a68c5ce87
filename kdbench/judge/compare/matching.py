"""Match the models of two records, and align the measurements of each metric by their axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kdbench.errors import InputError
from kdbench.registry import suggestion
from kdbench.results.cards import ModelCard, besides_teachers
from kdbench.results.records import Axes, Measurement, RunRecord, missing

# Axes of side numbers: training images, or one part of the machine.
_EXCLUDED = {"part", "scope"}
_FAILED = {"error", "invalid"}
_ByAxes = Mapping[tuple[tuple[str, str | int], ...], Measurement]


@dataclass(frozen=True)
class Match:
    """A model before and after."""

    base: ModelCard
    new: ModelCard

    @property
    def same_file(self) -> bool:
        """Whether the file did not change."""
        return self.base.sha256 == self.new.sha256


@dataclass(frozen=True)
class Matched:
    """The models that both records have, in the new record's order, and the ids of the others.

    `lost` are the base's unmatched candidates, `teachers` its other unmatched models, and `added` the new record's.
    """

    pairs: tuple[Match, ...]
    lost: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


def match_models(
    base: Sequence[ModelCard], new: Sequence[ModelCard], chosen: Mapping[str, str] | None = None
) -> Matched:
    """Match models by name, whatever their roles, and seed by seed where a name has several.

    `chosen` restricts the models to match: names or ids of the base, and those of the new record. Without it, if each
    record has one candidate, the two match whatever their names. Raises InputError if a chosen model does not exist or
    nothing matches.
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
    before, after = besides_teachers(base), besides_teachers(new)
    if len({card.name for card in before}) == len({card.name for card in after}) == 1:
        pairs += _by_seed(_without(before, [p.base for p in pairs]), _without(after, [p.new for p in pairs]))
    if not pairs:
        raise InputError(
            f"no model is in both: {_list(base)} in the base, {_list(new)} in the new one",
            "say which is which with --model BASE=NEW",
        )
    order = {card.id: number for number, card in enumerate(new)}
    unmatched = _without(base, [p.base for p in pairs])
    return Matched(
        tuple(sorted(pairs, key=lambda pair: order[pair.new.id])),
        lost=tuple(card.id for card in unmatched if card in before),
        teachers=tuple(card.id for card in unmatched if card not in before),
        added=tuple(card.id for card in _without(new, [p.new for p in pairs])),
    )


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


def _without(cards: Sequence[ModelCard], matched: Sequence[ModelCard]) -> list[ModelCard]:
    return [card for card in cards if card not in matched]


def _list(cards: Sequence[ModelCard]) -> str:
    return ", ".join(dict.fromkeys(card.name for card in cards)) or "none"


@dataclass(frozen=True)
class Aligned:
    """The measurements to compare, and notes on numbers that only one of the records has."""

    pairs: tuple[tuple[Measurement, Measurement], ...]
    notes: tuple[str, ...] = ()


def align(base: RunRecord, new: RunRecord, match: Match, metric: str) -> Aligned:
    """Pair the measurements of `metric` at every set of axes that both records have.

    If there is no such pair and one record has a number, that number is paired with the reason why the other record has
    none. Axes without a number in either record are left out, unless a measurement failed: a failure must not pass.
    """
    before, after = _by_axes(base, match.base.id, metric), _by_axes(new, match.new.id, metric)
    both = [(before[key], after[key]) for key in after if key in before]
    shared = [pair for pair in both if any(m.value is not None or m.status in _FAILED for m in pair)]
    only_base = [m for key, m in before.items() if key not in after and m.value is not None]
    only_new = [m for key, m in after.items() if key not in before and m.value is not None]
    if shared or not (only_base or only_new):
        notes = [(m, "the base") for m in only_base] + [(m, "the new record") for m in only_new]
        return Aligned(tuple(shared), tuple(f"{metric}{in_words(m.axes)}: {record} only" for m, record in notes))
    single = (only_base or only_new)[0]
    model, record = (match.new.id, "the new record") if only_base else (match.base.id, "the base")
    other = missing(model, metric, f"{record} has none{in_words(single.axes)}", axes=single.axes)
    return Aligned(((single, other) if only_base else (other, single),))


def in_words(axes: Axes) -> str:
    """Write axes as ` at batch 1, 2 threads`; empty for none."""
    return f" at {', '.join(f'{key} {value}' for key, value in axes.items())}" if axes else ""


def _by_axes(record: RunRecord, model: str, metric: str) -> _ByAxes:
    measurements = (m for m in record.measurements if (m.model, m.metric) == (model, metric))
    return {tuple(sorted(m.axes.items())): m for m in measurements if not _EXCLUDED & m.axes.keys()}
