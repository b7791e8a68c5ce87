"""What a report's row is about: one model, or the models of one name trained with several seeds."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from kdbench.report.cells import Number
from kdbench.results.cards import ModelCard, Role, seed_groups
from kdbench.results.metrics import metric as declared
from kdbench.results.records import Axes, Interval, Measurement, Pair, RunRecord

_OF_CALLS = {"latency_ratio", "energy_ratio"}  # taken at the axes of calls, as what is behind them


@dataclass(frozen=True)
class ModelGroup:
    """The cards that share a row: one model, or one name trained with several seeds (`cards[0]` is the first)."""

    label: str
    role: Role
    cards: tuple[ModelCard, ...]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The cards' ids, in the record's order."""
        return tuple(card.id for card in self.cards)


def subjects(record: RunRecord) -> list[ModelGroup]:
    """Return what the rows are about: teachers first, then in the record's order.

    A row is called by its models' name, or by its id where several groups share the name.
    """
    by_seed = seed_groups(record.models)
    shared = Counter(cards[0].name for cards in by_seed)
    groups = [
        ModelGroup(first.name if shared[first.name] == 1 else first.id, first.role, (first, *others))
        for first, *others in by_seed
    ]
    return sorted(groups, key=lambda subject: subject.role != "teacher")


def number(record: RunRecord, subject: ModelGroup, metric: str, axes: Axes | None = None) -> Number:
    """Return what the record knows of `metric` of `subject`, at measurements whose axes include `axes`."""
    found = [m for id_ in subject.ids if (m := record.find(id_, metric, **dict(axes or {})))]
    if not found and declared(metric).group == "latency" and record.protocol.get("mode") == ["offline"]:
        return Number(declared(metric).text, status="unavailable", reason="mode offline has none")
    return _cell(metric, found, len(subject.ids))


def pair_number(record: RunRecord, subject: ModelGroup, metric: str, axes: Axes | None = None) -> Number:
    """Return what the record knows of the pair `metric` of `subject` with its teacher.

    A pair that is not in the record has the reason of the measurement it would have been taken from.
    """
    found = [p for id_ in subject.ids if (p := record.find_pair(id_, metric, **dict(axes or {})))]
    if found:
        return _cell(metric, found, len(subject.ids))
    if metric == "latency_ratio" and axes and axes.get("mode") == "server":
        return Number(declared(metric).text, reason="waits have no ratio")  # they depend on chance, and on the load
    behind = number(record, subject, declared(metric).compares or metric, axes if metric in _OF_CALLS else None)
    reason = behind.reason if behind.value is None else "not measured"
    return Number(declared(metric).text, reason=reason, hint=behind.hint if behind.value is None else "")


def teacher_of(record: RunRecord, subject: ModelGroup) -> str | None:
    """Return the label of the model that `subject` is compared with, or None."""
    teachers = {pair.teacher for pair in record.pairs if pair.student in subject.ids}
    return next((other.label for other in subjects(record) if teachers & set(other.ids)), None)


def have_one_teacher(record: RunRecord, compared: Iterable[ModelGroup]) -> bool:
    """Return whether those of `compared` that are compared with a teacher are so with the same one.

    What is said relative to different teachers has no best.
    """
    names = {card.id: card.name for card in record.models}
    return len({names.get(parent) for subject in compared for card in subject.cards for parent in card.parents}) <= 1


def mean_over_seeds(values: Sequence[float]) -> tuple[float, Interval]:
    """Return the mean of at least two values and its Student-t interval."""
    import numpy as np

    from kdbench import statistics  # only here: scipy costs a report of one seed more than the report itself

    found = statistics.mean(np.array(values, dtype=np.float64))
    assert found.low is not None, "a single value has no spread"
    assert found.high is not None
    return found.value, Interval(low=found.low, high=found.high, level=statistics.LEVEL)


def _cell(metric: str, found: Sequence[Measurement | Pair], seeds: int) -> Number:
    write = declared(metric).text
    valued = [finding for finding in found if finding.value is not None]
    if not valued:
        return _missing(metric, found)
    first = valued[0]
    cell = Number(
        write,
        first.value,
        first.interval,
        first.status,
        evidence=first.evidence,
        reason=first.reason or "",
        hint=(first.hint or "") if isinstance(first, Measurement) else "",
        plus_minus=declared(metric).plus_minus,
    )
    # Time, size and MACs are properties of the architecture: they are those of the first seed that has them.
    return _over_seeds(metric, cell, valued, seeds) if seeds > 1 and declared(metric).scored else cell


def _over_seeds(metric: str, first: Number, valued: Sequence[Measurement | Pair], seeds: int) -> Number:
    """Return the mean over the seeds that have a value; it is as reliable as the least reliable of them."""
    if len(valued) == 1:
        return Number(first.write, first.value, first.interval, first.status, aside=f"1 of {seeds} seeds")
    mean, interval = mean_over_seeds([finding.value for finding in valued if finding.value is not None])
    least, most = declared(metric).value_range  # an interval over seeds covers as well without impossible values
    low, high = max(interval.low, min(least, mean)), min(interval.high, max(most, mean))  # a KL of 0 may be -1e-17
    interval = Interval(low=low, high=high, level=interval.level)
    shaky = next((finding for finding in valued if finding.status == "unstable"), None)
    return Number(
        first.write,
        mean,
        interval,
        status="unstable" if shaky else "ok",
        evidence=first.evidence,
        reason=(shaky.reason or "") if shaky else "",
        aside="" if len(valued) == seeds else f"{len(valued)} of {seeds} seeds",
    )


def _missing(metric: str, found: Sequence[Measurement | Pair]) -> Number:
    write = declared(metric).text
    if not found:
        return Number(write, status="unavailable", reason="not measured")
    why = found[0]
    hint = (why.hint or "") if isinstance(why, Measurement) else ""
    return Number(write, status=why.status, reason=why.reason or "", hint=hint)
