"""The ways of comparing one metric of one model, best first; the first that applies is taken."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kdbench import units
from kdbench.judge.bounds import bounds_of, weakness
from kdbench.judge.comparing.machines import other_machine, other_runtime
from kdbench.judge.comparing.matching import Match
from kdbench.judge.comparing.shifts import (
    Delta,
    NotComparable,
    beside,
    counted,
    on_their_own,
    same_images,
    side_by_side,
    unchanged,
)
from kdbench.results.metrics import PAIR_METRICS, Metric
from kdbench.results.records import Measurement, Pair, RunRecord
from kdbench.results.samples import correct_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

Samples = Mapping[str, "NDArray[Any]"]

REMEASURE = "measure both side by side with --remeasure"
_SAME_DATA = "score both on the same data"
_SAME_FILE = "the same file: a difference is the machine's doing"
_OF_FILE_AND_IMAGES = {"accuracy", "calibration"}  # groups; others depend on the teacher or on training images, too
# The ratios that are sampled: the others are quotients of two numbers that tell as much.
_SAMPLED_RATIO_OF = {pair.compares: pair.id for pair in PAIR_METRICS.values() if pair.sampled}


@dataclass(frozen=True)
class Records:
    """The two records, and what of their raw samples there is.

    `together`: they are one record, in which base and new were measured side by side.
    """

    base: RunRecord
    new: RunRecord
    base_samples: Samples = field(default_factory=dict)
    new_samples: Samples = field(default_factory=dict)
    together: bool = False

    @cached_property
    def other_machine(self) -> str:
        """What makes the machines different ones, in words; empty if nothing does."""
        return "" if self.together else other_machine(self.base, self.new)

    @cached_property
    def test_sets(self) -> tuple[str | None, str | None]:
        """The hashes of the test sets; None of a record that does not say it."""
        found = [record.protocol.get("test_set_sha256") for record in (self.base, self.new)]
        return (found[0], found[1])

    @property
    def other_test_set(self) -> bool:
        """Whether both are known to be scored on different images."""
        return None not in self.test_sets and self.test_sets[0] != self.test_sets[1]

    @property
    def same_test_set(self) -> bool:
        """Whether both are known to be scored on the same images."""
        return self.test_sets[0] is not None and self.test_sets[0] == self.test_sets[1]


@dataclass(frozen=True)
class MetricPair:
    """What is asked: one metric of one model, and the two findings."""

    records: Records
    match: Match
    metric: Metric
    base: Measurement
    new: Measurement


def change(question: MetricPair) -> Delta | NotComparable:
    """Return the change that a question asks for, or why there is no answer."""
    return next(found for way in _WAYS if (found := way(question)) is not None)


def _no_number(question: MetricPair) -> NotComparable | None:
    for where, found in (("the base", question.base), ("the new record", question.new)):
        if found.value is None:
            return NotComparable(f"{where} has no number: {found.reason}", found.hint or "")
    return None


def _elsewhere(question: MetricPair) -> NotComparable | None:
    """Refuse what another machine gives other numbers of."""
    if not question.metric.hardware_dependent or not question.records.other_machine:
        return None
    return NotComparable(f"taken on another machine: {question.records.other_machine}", REMEASURE)


def _other_meter(question: MetricPair) -> NotComparable | None:
    """Refuse energies of different meters: their joules are of different parts of a machine."""
    if not question.metric.metered or question.base.source == question.new.source:
        return None
    return NotComparable(f"metered by {question.base.source} and by {question.new.source}", REMEASURE)


def _the_same_file(question: MetricPair) -> Delta | None:
    """Take a file for itself, where nothing but chance or the machine could make its numbers differ."""
    both, records = (question.base, question.new), question.records
    if not question.match.same_file or any(each.status != "ok" or each.evidence == "estimated" for each in both):
        return None
    sound = not any(map(weakness, both))
    if question.metric.sampled and sound and not other_runtime(records.base, records.new, question.new.axes):
        return unchanged(question.metric, "anchored", note=_SAME_FILE, anchor=question.match.new.id)
    images_agree = not records.other_test_set and both[0].n == both[1].n
    if question.metric.group in _OF_FILE_AND_IMAGES and images_agree and both[0].value == both[1].value:
        return unchanged(question.metric, "exact", n=question.new.n, anchor=question.match.new.id)
    return None


def _weak(question: MetricPair) -> NotComparable | None:
    for where, found in (("the base", question.base), ("the new record", question.new)):
        weak = weakness(found)
        if weak is not None:
            return NotComparable(f"{where}'s number: {weak.reason}", weak.remedy)
    return None


def _counted(question: MetricPair) -> Delta | NotComparable | None:
    if not question.metric.counted:
        return None
    assert question.base.value is not None
    assert question.new.value is not None
    return counted(question.base.value, question.new.value)


def _other_test_data(question: MetricPair) -> NotComparable | None:
    """Refuse accuracies of different images."""
    if not question.metric.scored:
        return None
    if question.records.other_test_set:
        return NotComparable("scored on different test data", _SAME_DATA)
    images = question.base.n or 0, question.new.n or 0
    if images[0] == images[1]:
        return None
    return NotComparable(f"scored on {units.whole(images[0])} images and on {units.whole(images[1])}", _SAME_DATA)


def _answers(question: MetricPair) -> Delta | None:
    """Pair the answers to the same images."""
    if question.metric.id != "top1" or question.new.axes or not question.records.same_test_set:
        return None
    base = _correct(question.records.base_samples, question.base)
    new = _correct(question.records.new_samples, question.new)
    return None if base is None or new is None or len(base) != len(new) else same_images(base, new)


def _side_by_side(question: MetricPair) -> Delta | NotComparable | None:
    """Take the ratio of two that ran in turns: it is sound where sessions differ, which it does not depend on."""
    if not question.records.together or question.metric.id not in _SAMPLED_RATIO_OF:
        return None
    pair = _pair(question.records.new, question, question.match.base.id, question.match.new.id)
    if pair is None:
        return None
    weak = weakness(pair)
    return NotComparable(weak.reason, weak.remedy) if weak else side_by_side(pair, question.metric)


def _beside_an_anchor(question: MetricPair) -> Delta | None:
    """Let a model that both records have tell what the machine did between them.

    Not with another runtime: what that does to both models would cancel as well.
    """
    records = question.records
    if question.metric.id not in _SAMPLED_RATIO_OF or other_runtime(records.base, records.new, question.new.axes):
        return None
    for base_anchor, new_anchor in _anchors(question):
        for as_student in (True, False):
            pairs = [
                _pair(record, question, *((anchor, model) if as_student else (model, anchor)))
                for record, anchor, model in (
                    (records.base, base_anchor, question.match.base.id),
                    (records.new, new_anchor, question.match.new.id),
                )
            ]
            before, after = pairs
            if before and after and not weakness(before) and not weakness(after):
                return beside(before, after, question.metric, anchor=new_anchor, as_student=as_student)
    return None


def unaided(question: MetricPair) -> Delta | NotComparable:
    """Return the change of two numbers that nothing else helps to compare."""
    bounds = bounds_of(question.base), bounds_of(question.new)
    assert bounds[0] is not None, "a number without bounds is weak"
    assert bounds[1] is not None
    together = question.records.together
    run_to_run = 0.0 if together else question.metric.run_to_run
    found = on_their_own(question.base, question.new, question.metric, (bounds[0], bounds[1]), run_to_run)
    in_turns = together and question.metric.hardware_dependent
    return replace(found, way="paired") if in_turns and isinstance(found, Delta) else found


def answers_are_kept(question: MetricPair) -> bool:
    """Return whether both records keep which images were right."""
    records = question.records
    both = ((records.base_samples, question.base), (records.new_samples, question.new))
    return all(_correct(samples, top1) is not None for samples, top1 in both)


_WAYS: tuple[Callable[[MetricPair], Delta | NotComparable | None], ...] = (
    _no_number,
    _elsewhere,
    _other_meter,
    _the_same_file,
    _side_by_side,
    _beside_an_anchor,
    _weak,
    _counted,
    _other_test_data,
    _answers,
    unaided,
)


def _anchors(question: MetricPair) -> Iterator[tuple[str, str]]:
    """Yield the ids, in both records, of the models whose file is the same in both."""
    by_file = {card.sha256: card.id for card in question.records.base.models}
    for card in question.records.new.models:
        if card.sha256 in by_file:
            yield by_file[card.sha256], card.id


def _pair(record: RunRecord, question: MetricPair, teacher: str, student: str) -> Pair | None:
    """Return how a student stood to a teacher at the axes in question, if that was measured."""
    metric = _SAMPLED_RATIO_OF[question.metric.id]
    found = (p for p in record.pairs if (p.metric, p.teacher, p.student) == (metric, teacher, student))
    return next((p for p in found if p.axes == question.new.axes), None)


def _correct(samples: Samples, top1: Measurement) -> "NDArray[Any] | None":
    """Return which images were right, (N,), if the samples are those behind the number."""
    found = samples.get(correct_key(top1.model))
    return found if found is not None and len(found) == top1.n and found.mean() == top1.value else None
