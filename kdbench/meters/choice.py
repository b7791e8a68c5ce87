"""Choosing meters: the most direct one for each part of the machine, without overlaps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kdbench.meters.meter import METERS, Available, Meter, MeterStatus, Part, Rank, Unavailable

# The active parts for each provider; the first runs the model.
_PARTS = {"cpu": (Part.CPU,), "cuda": (Part.GPU, Part.CPU)}
_ESTIMATE_HINT = "--estimate-energy gives a labelled estimate"


@dataclass(frozen=True)
class Choice:
    """The meters to read for a provider.

    leading: the meter of the part that runs the model, or the reason why there is none.
    beside: meters of the other active parts; no two overlap.
    uncounted: the reasons why other active parts have no meter.
    """

    leading: MeterStatus | Unavailable
    beside: tuple[MeterStatus, ...] = ()
    uncounted: tuple[Unavailable, ...] = ()

    @property
    def used(self) -> tuple[MeterStatus, ...]:
        """The meters to read, the leading one first; none without a leading one."""
        return () if isinstance(self.leading, Unavailable) else (self.leading, *self.beside)


def all_meters(*, estimates: bool = True) -> Iterator[MeterStatus]:
    """Yield every registered meter, the most direct first, and whether it can be used on this machine.

    Without `estimates`, meters that only estimate are left out, because trying them takes seconds.
    """
    for meter in _by_rank():
        if estimates or meter.evidence != "estimated":
            yield MeterStatus(meter, meter.available())


def choose(provider: str, *, estimate: bool) -> Choice:
    """Return the meters for models that run on `provider`; `estimate` allows meters that only estimate."""
    chosen: list[MeterStatus] = []
    uncounted: list[Unavailable] = []
    for part in _PARTS[provider]:
        covered = frozenset().union(*(status.meter.covers for status in chosen))
        if part in covered:
            continue
        best = _best(part, covered, estimate=estimate)
        if isinstance(best, MeterStatus):
            chosen.append(best)
        elif not chosen:
            return Choice(best)
        else:
            uncounted.append(best)
    return Choice(chosen[0], tuple(chosen[1:]), tuple(uncounted))


def _best(part: str, covered: frozenset[str], *, estimate: bool) -> MeterStatus | Unavailable:
    """Return the most direct meter of `part` that works and covers nothing in `covered`; else the reason for none."""
    unavailable: dict[str, Unavailable] = {}
    can_estimate = False
    for meter in _by_rank():
        if part not in meter.stands_for or meter.covers & covered:
            continue
        if meter.rank is Rank.ESTIMATE and not estimate:
            can_estimate = True
            continue
        state = meter.available()
        if isinstance(state, Available):
            return MeterStatus(meter, state)
        unavailable[meter.name] = state
    return _merged(unavailable, can_estimate=can_estimate)


def _by_rank() -> list[Meter]:
    return sorted((make() for _, make in METERS), key=lambda meter: (meter.rank, meter.name))


def _merged(unavailable: Mapping[str, Unavailable], *, can_estimate: bool) -> Unavailable:
    """Return the reason of the most direct meter that is expected on this machine, with every meter's remedy."""
    expected = {name: state for name, state in unavailable.items() if state.expected}
    reason = next((state.reason for state in expected.values()), "no energy counter")
    names: dict[str, str] = {}
    for name, state in expected.items():
        if state.hint:
            names.setdefault(state.hint, name)
    hints = [f"{name}: {hint}" if len(names) > 1 else hint for hint, name in names.items()]
    return Unavailable(reason, "; ".join([*hints, *([_ESTIMATE_HINT] if can_estimate else [])]))
