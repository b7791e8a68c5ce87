"""Align the numbers of a metric: pairs of measurements at the axes at which both records have it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kdbench.judge.compare.matching import Match
from kdbench.results.records import Axes, Measurement, RunRecord, missing

# Axes of side numbers: training images, or one part of the machine.
_EXCLUDED = {"part", "scope"}
_FAILED = {"error", "invalid"}
_ByAxes = Mapping[tuple[tuple[str, str | int], ...], Measurement]


@dataclass(frozen=True)
class Aligned:
    """The measurements to compare, and notes on numbers that only one of the records has."""

    pairs: tuple[tuple[Measurement, Measurement], ...]
    notes: tuple[str, ...] = ()


def align(base: RunRecord, new: RunRecord, match: Match, metric: str) -> Aligned:
    """Pair the measurements of `metric` at every set of axes that both records have.

    Where there is no such pair and one of the records has a number, that number is paired with the reason why the other
    has none. Axes without a number in either are left out, unless one failed: a failure must not pass.
    """
    before, after = _by_axes(base, match.base.id, metric), _by_axes(new, match.new.id, metric)
    shared = [(before[key], after[key]) for key in after if key in before and _is_relevant(before[key], after[key])]
    only_base, only_new = list(_unshared(before, after)), list(_unshared(after, before))
    if shared or not (only_base or only_new):
        notes = [(m, "the base") for m in only_base] + [(m, "the new record") for m in only_new]
        return Aligned(tuple(shared), tuple(f"{metric}{in_words(m.axes)}: {record} only" for m, record in notes))
    if only_base:
        single = only_base[0]
        reason = f"the new record has none{in_words(single.axes)}"
        return Aligned(((single, missing(match.new.id, metric, reason, axes=single.axes)),))
    single = only_new[0]
    reason = f"the base has none{in_words(single.axes)}"
    return Aligned(((missing(match.base.id, metric, reason, axes=single.axes), single),))


def in_words(axes: Axes) -> str:
    """Write axes as ` at batch 1, 2 threads`; empty for none."""
    return f" at {', '.join(f'{key} {value}' for key, value in axes.items())}" if axes else ""


def any_measured(pairs: Sequence[tuple[Measurement, Measurement]]) -> bool:
    """Return whether any of the numbers is more than an estimate."""
    return any(m.value is not None and m.evidence != "estimated" for pair in pairs for m in pair)


def _by_axes(record: RunRecord, model: str, metric: str) -> _ByAxes:
    measurements = (m for m in record.measurements if (m.model, m.metric) == (model, metric))
    return {tuple(sorted(m.axes.items())): m for m in measurements if not _EXCLUDED & m.axes.keys()}


def _is_relevant(base: Measurement, new: Measurement) -> bool:
    return any(m.value is not None or m.status in _FAILED for m in (base, new))


def _unshared(measurements: _ByAxes, others: _ByAxes) -> Iterator[Measurement]:
    yield from (m for key, m in measurements.items() if key not in others and m.value is not None)
