"""Which source counts the energy of which part of the machine: the nearest to each, and no joule twice."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kdbench.meters.meter import SOURCES, Available, Counter, MeterStatus, Part, Rank, Unavailable

# The parts at work where a provider runs a model; the first is the one that runs it.
_PARTS = {"cpu": (Part.CPU,), "cuda": (Part.GPU, Part.CPU)}
_ESTIMATE_HINT = "--estimate-energy gives a labelled estimate"


@dataclass(frozen=True)
class Choice:
    """The sources to read for a provider.

    `leading` counts the part that runs the model; `beside` those of the other parts at work that have one, none of
    which overlaps another. Where nothing counts the leading part, `leading` says why; `uncounted` says it of others.
    """

    leading: MeterStatus | Unavailable
    beside: tuple[MeterStatus, ...] = ()
    uncounted: tuple[Unavailable, ...] = ()

    @property
    def used(self) -> tuple[MeterStatus, ...]:
        """The sources that are read, the leading one first; none without a leading one."""
        return () if isinstance(self.leading, Unavailable) else (self.leading, *self.beside)


def every_source() -> Iterator[MeterStatus]:
    """Yield every source there is, the nearest first, and whether it can be used on this machine."""
    for counter in _ranked():
        yield MeterStatus(counter, counter.available())


def choose(provider: str, *, estimate: bool) -> Choice:
    """Return the sources for models that `provider` runs; `estimate` admits what is no measurement."""
    found: list[MeterStatus] = []
    uncounted: list[Unavailable] = []
    for part in _PARTS[provider]:
        held = frozenset().union(*(each.counter.covers for each in found))
        if part in held:
            continue
        nearest = _nearest(part, held, estimate=estimate)
        if isinstance(nearest, MeterStatus):
            found.append(nearest)
        elif not found:
            return Choice(nearest)
        else:
            uncounted.append(nearest)
    return Choice(found[0], tuple(found[1:]), tuple(uncounted))


def _nearest(part: str, held: frozenset[str], *, estimate: bool) -> MeterStatus | Unavailable:
    """Return the nearest source of `part` that works and counts nothing that is `held`, or why there is none."""
    refusals: dict[str, Unavailable] = {}
    estimable = False
    for counter in _ranked():
        if part not in counter.stands_for or counter.covers & held:
            continue
        if counter.rank is Rank.ESTIMATE and not estimate:
            estimable = True
            continue
        state = counter.available()
        if isinstance(state, Available):
            return MeterStatus(counter, state)
        refusals[counter.name] = state
    return _refusal(refusals, estimable=estimable)


def _ranked() -> list[Counter]:
    return sorted((make() for _, make in SOURCES), key=lambda counter: (counter.rank, counter.name))


def _refusal(refusals: Mapping[str, Unavailable], *, estimable: bool) -> Unavailable:
    """Return the reason of the nearest source that this machine should have, and every remedy, by its source's name."""
    expected = {name: each for name, each in refusals.items() if each.expected}
    reason = next((each.reason for each in expected.values()), "no energy counter")
    names: dict[str, str] = {}
    for name, each in expected.items():
        if each.hint:
            names.setdefault(each.hint, name)
    hints = [f"{name}: {hint}" if len(names) > 1 else hint for hint, name in names.items()]
    return Unavailable(reason, "; ".join([*hints, *([_ESTIMATE_HINT] if estimable else [])]))
