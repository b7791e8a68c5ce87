"""Match the models and the axes of two records, and describe how their machines and software differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdbench.errors import InputError
from kdbench.registry import suggestion
from kdbench.results.cards import ModelCard, cards_by_name, without_teachers
from kdbench.results.records import Axes, Measurement, RunRecord, missing
from kdbench.results.runtimes import libraries_of, runtime_of

# The axes of secondary numbers: of training images, of one sample that is an example, or of one part of the machine.
_EXCLUDED = {"part", "sample", "scope"}
_FAILED = {"error", "invalid"}

# The facts of a host that its times depend on. Another kernel, Python or total memory does not make another machine.
_CORES = ("cores_physical", "cores_logical", "cores_usable", "cpu_quota_cores")
_STATE = ("virtualization", "container", "governor", "turbo", "clock_limit_share", "smt")
_MACHINE = ("cpu", "machine", *_CORES, "gpu", *_STATE)
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
_OTHER_LIBRARIES = ("kdbench", "numpy", "torch")
_DRIVER = ("gpu_driver", "gpu_cuda")
_OTHER_FACTS = ("os", "kernel", "python")
_RUNTIME_FACTS = ("version", "engine")


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
class MatchedModels:
    """The models that both records have, in the new record's order, and the ids of the others.

    `lost` are the base's unmatched candidates, `teachers` its other unmatched models, and `added` the new record's.
    """

    pairs: tuple[Match, ...]
    lost: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


def match_models(
    base: Sequence[ModelCard], new: Sequence[ModelCard], chosen: Mapping[str, str] | None = None
) -> MatchedModels:
    """Match models by name, regardless of their roles, and seed by seed where a name has several.

    `chosen` restricts the models to match: names or ids of the base, and those of the new record. Without it, if each
    record has one candidate, the two match even if their names differ. Raises InputError if a record has no models,
    a chosen model does not exist, or nothing matches.
    """
    for record, cards in (("base", base), ("new run", new)):
        if not cards:
            raise InputError(f"the {record} has no models", "measure models first: `kdbench bench MODEL…`")
    if chosen:
        pairs = [
            pair
            for before, after in chosen.items()
            for pair in _by_seed(_with_id_or_name(before, base, "base"), _with_id_or_name(after, new, "new run"))
        ]
        if not pairs:
            raise InputError("the models that were named have no seed in common", "name single models by their ids")
        return MatchedModels(tuple(pairs))
    base_by_name, new_by_name = cards_by_name(base), cards_by_name(new)
    pairs = [pair for name, cards in new_by_name.items() for pair in _by_seed(base_by_name.get(name, []), cards)]
    before, after = without_teachers(base), without_teachers(new)
    if len({card.name for card in before}) == len({card.name for card in after}) == 1:
        pairs += _by_seed(_without(before, [p.base for p in pairs]), _without(after, [p.new for p in pairs]))
    if not pairs:
        raise InputError(
            f"no model is in both: {_list(base)} in the base, {_list(new)} in the new one",
            "match them with --model BASE=NEW",
        )
    order = {card.id: number for number, card in enumerate(new)}
    unmatched, candidates = _without(base, [p.base for p in pairs]), {card.id for card in before}
    return MatchedModels(
        tuple(sorted(pairs, key=lambda pair: order[pair.new.id])),
        lost=tuple(card.id for card in unmatched if card.id in candidates),
        teachers=tuple(card.id for card in unmatched if card.id not in candidates),
        added=tuple(card.id for card in _without(new, [p.new for p in pairs])),
    )


def ids_in_new(base: Sequence[ModelCard], new: Sequence[ModelCard]) -> dict[str, str]:
    """Return the new record's ids of the models that have the same name and seed in both records, by the base's ids."""
    new_by_name = cards_by_name(new)
    return {
        match.base.id: match.new.id
        for name, cards in cards_by_name(base).items()
        for match in _by_seed(cards, new_by_name.get(name, []))
    }


def _by_seed(base: Sequence[ModelCard], new: Sequence[ModelCard]) -> list[Match]:
    if len(base) == len(new) == 1:
        return [Match(base[0], new[0])]
    by_seed = {card.seed: card for card in base}
    return [Match(by_seed[card.seed], card) for card in new if card.seed in by_seed]


def _with_id_or_name(name: str, cards: Sequence[ModelCard], record: str) -> list[ModelCard]:
    """Return the card with that id, or all cards with that name; raises InputError if none matches."""
    by_name = cards_by_name(cards)
    matching = [card for card in cards if card.id == name] or by_name.get(name)
    if not matching:
        raise InputError(f"the {record} has no model {name!r}", suggestion(name, list(by_name)))
    return matching


def _without(cards: Sequence[ModelCard], matched: Sequence[ModelCard]) -> list[ModelCard]:
    ids = {card.id for card in matched}
    return [card for card in cards if card.id not in ids]


def _list(cards: Sequence[ModelCard]) -> str:
    return ", ".join(dict.fromkeys(card.name for card in cards)) or "none"


def align(
    base: RunRecord, new: RunRecord, match: Match, metric: str, renamed: Mapping[str, str]
) -> tuple[list[tuple[Measurement, Measurement]], list[str]]:
    """Pair the measurements of `metric` at every set of axes that both records have; note numbers that only one has.

    `renamed` are the new record's ids of models by the base's ids: a number beside a model pairs with the one beside
    the same model. If there is no such pair and one record has a number, that number is paired with the reason why the
    other record has none. Axes without a number in either record are left out, unless a measurement failed: a failure
    must not pass.
    """
    before, after = _by_axes(base, match.base.id, metric, renamed), _by_axes(new, match.new.id, metric, {})
    both = [(before[key], after[key]) for key in after if key in before]
    shared = [pair for pair in both if any(m.value is not None or m.status in _FAILED for m in pair)]
    only_base = [m for key, m in before.items() if key not in after and m.value is not None]
    only_new = [m for key, m in after.items() if key not in before and m.value is not None]
    if shared or not (only_base or only_new):
        notes = [(m, "the base") for m in only_base] + [(m, "the new record") for m in only_new]
        return shared, [f"{metric}{describe_axes(m.axes)}: {record} only" for m, record in notes]
    single = (only_base or only_new)[0]
    model, record = (match.new.id, "the new record") if only_base else (match.base.id, "the base")
    other = missing(model, metric, f"{record} has none{describe_axes(single.axes)}", axes=single.axes)
    return [(single, other) if only_base else (other, single)], []


def describe_axes(axes: Axes) -> str:
    """Write axes as ` at batch 1, 2 threads`; empty for none."""
    return f" at {', '.join(f'{key} {value}' for key, value in axes.items())}" if axes else ""


def _by_axes(
    record: RunRecord, model: str, metric: str, renamed: Mapping[str, str]
) -> dict[frozenset[tuple[str, str | int]], Measurement]:
    def as_key(axes: Axes) -> frozenset[tuple[str, str | int]]:
        beside = {"beside": renamed.get(str(axes["beside"]), axes["beside"])} if "beside" in axes else {}
        return frozenset({**axes, **beside}.items())

    measurements = record.measurement_index.of(model, metric)
    return {as_key(m.axes): m for m in measurements if not _EXCLUDED & m.axes.keys()}


def other_machine(base: RunRecord, new: RunRecord) -> str:
    """Return how the machines of two records differ, in words; empty where they do not.

    A record that does not name its processor could be of any machine.
    """
    before, after = base.environment.host, new.environment.host
    if before.get("cpu") is None or after.get("cpu") is None:
        return "the processor is not known"
    return "; ".join(_differing(before, after, _MACHINE))


def other_runtime(base: RunRecord, new: RunRecord, axes: Axes) -> str:
    """Return which runtime or driver differs, in words: they may change the times at `axes`."""
    libraries = dict.fromkeys((*RUNTIMES, *libraries_of([runtime_of(axes)])))
    differences = _differing(base.environment.libraries, new.environment.libraries, tuple(libraries))
    before, after = (_runtime_facts(record, runtime_of(axes)) for record in (base, new))
    differences += _differing(before, after, _RUNTIME_FACTS)
    if axes.get("provider") == "cuda":
        differences += _differing(base.environment.host, new.environment.host, _DRIVER)
    return "; ".join(differences)


def _runtime_facts(record: RunRecord, runtime: str) -> Mapping[str, Any]:
    """Return a record's facts on a runtime that is not a Python library: its version, and the engine that runs it."""
    runtimes = record.protocol.get("runtimes")
    facts = runtimes.get(runtime) if isinstance(runtimes, Mapping) else None
    return facts if isinstance(facts, Mapping) and "engine" in facts else {}


def other_software(base: RunRecord, new: RunRecord) -> str:
    """Return which software that a number may depend on differs, in words; empty where none does."""
    differences = [
        *_differing(base.environment.libraries, new.environment.libraries, (*RUNTIMES, *_OTHER_LIBRARIES)),
        *_differing(base.environment.host, new.environment.host, (*_DRIVER, *_OTHER_FACTS)),
    ]
    return "; ".join(differences)


def _differing(base: Mapping[str, object], new: Mapping[str, object], keys: tuple[str, ...]) -> list[str]:
    changes = {key: (base.get(key), new.get(key)) for key in keys if base.get(key) != new.get(key)}
    texts = {key: ["unknown" if value is None else str(value) for value in values] for key, values in changes.items()}
    return [f"{key.replace('_', ' ')} {' → '.join(values)}" for key, values in texts.items()]
