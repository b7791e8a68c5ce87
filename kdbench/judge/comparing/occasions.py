"""Where a metric of a model can be compared: at the axes at which both records have it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kdbench.judge.comparing.matching import Match
from kdbench.results.records import Axes, Measurement, RunRecord, missing

# Of training images, of one part of the machine, on its own: told beside the number that is meant.
_ASIDE = {"part", "scope"}
_FAILED = {"error", "invalid"}
_Key = tuple[tuple[str, str | int], ...]


@dataclass(frozen=True)
class Occasions:
    """The findings to compare, and in words where only one of the records has a number."""

    both: tuple[tuple[Measurement, Measurement], ...]
    only: tuple[str, ...] = ()


def occasions(base: RunRecord, new: RunRecord, match: Match, metric: str) -> Occasions:
    """Return the findings of `metric` at every set of axes that both have.

    Where there is none, and one of the records has a number, that number and why there is none beside it. What
    neither has a number of is left out, unless it failed: that is no reason to pass.
    """
    before, after = _by_axes(base, match.base.id, metric), _by_axes(new, match.new.id, metric)
    shared = [(before[key], after[key]) for key in after if key in before and _tells(before[key], after[key])]
    alone = [*_lonely(before, after, "the base"), *_lonely(after, before, "the new record")]
    if shared or not alone:
        return Occasions(tuple(shared), tuple(f"{metric}{in_words(m.axes)}: {where} only" for where, m in alone))
    where, found = alone[0]
    lacking = f"the {'new record' if where == 'the base' else 'base'} has none{in_words(found.axes)}"
    if where == "the base":
        return Occasions(((found, missing(match.new.id, metric, lacking, axes=found.axes)),))
    return Occasions(((missing(match.base.id, metric, lacking, axes=found.axes), found),))


def in_words(axes: Axes) -> str:
    """Write axes as ` at batch 1, 2 threads`; empty for none."""
    return f" at {', '.join(f'{key} {value}' for key, value in axes.items())}" if axes else ""


def _by_axes(record: RunRecord, model: str, metric: str) -> dict[_Key, Measurement]:
    found = (m for m in record.measurements if (m.model, m.metric) == (model, metric) and not _ASIDE & m.axes.keys())
    return {tuple(sorted(m.axes.items())): m for m in found}


def _tells(base: Measurement, new: Measurement) -> bool:
    both = (base, new)
    return any(each.value is not None for each in both) or any(each.status in _FAILED for each in both)


def _lonely(
    here: Mapping[_Key, Measurement], there: Mapping[_Key, Measurement], where: str
) -> Iterator[tuple[str, Measurement]]:
    yield from ((where, m) for key, m in here.items() if key not in there and m.value is not None)


def measured_at_all(both: Sequence[tuple[Measurement, Measurement]]) -> bool:
    """Return whether any of the numbers is more than an estimate."""
    return any(each.value is not None and each.evidence != "estimated" for pair in both for each in pair)
