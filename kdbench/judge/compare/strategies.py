"""The strategies to compare one metric of one model, best first; the first that applies decides."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kdbench import units
from kdbench.judge.compare import deltas
from kdbench.judge.compare.deltas import Delta, NotComparable
from kdbench.judge.compare.matching import Match, ids_in_new, other_machine, other_runtime
from kdbench.judge.limits import RELIABLE, reliability_problem
from kdbench.results.metrics import PAIR_METRICS, Metric
from kdbench.results.records import Measurement, Pair, RunRecord
from kdbench.results.records.index import once_per_record
from kdbench.results.samples import Samples, correct_key, squared_error_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

REMEASURE = "measure both side by side with --remeasure"
_SAME_DATA = "score both on the same data"
_SAME_FILE = "the same file: a difference comes from the machine"
# The groups of metrics that depend on the file and the test images only, not on a teacher or on training images.
_OF_FILE_AND_IMAGES = {"accuracy", "calibration", "classes", "errors", "target errors"}
_POWERS = {"mse": 1.0, "rmse": 0.5}  # of the mean of the squared errors
# The sampled ratios: a counted ratio holds no more information than the two numbers.
_SAMPLED_RATIO_OF = {pair.compares: pair.id for pair in PAIR_METRICS.values() if pair.sampled}


@dataclass(frozen=True)
class RecordPair:
    """The two records, and their raw samples if they exist.

    `side_by_side`: both are the same record, whose sessions interleave base and new.
    """

    base: RunRecord
    new: RunRecord
    base_samples: Samples = field(default_factory=dict)
    new_samples: Samples = field(default_factory=dict)
    side_by_side: bool = False

    @cached_property
    def other_machine(self) -> str:
        """How the machines differ, in words; empty if they do not."""
        return "" if self.side_by_side else other_machine(self.base, self.new)

    @cached_property
    def ids_in_new(self) -> dict[str, str]:
        """The new record's ids of the models that both records have, by the base's ids."""
        return {} if self.side_by_side else ids_in_new(self.base.models, self.new.models)

    @cached_property
    def anchors(self) -> dict[str, str]:
        """The models whose file is the same in both records: the base's id by the new record's, in its order."""
        by_file = {card.sha256: card.id for card in self.base.models}
        return {card.id: by_file[card.sha256] for card in self.new.models if card.sha256 in by_file}

    @cached_property
    def same_test_set(self) -> bool | None:
        """Whether both are scored on the same images; None where a record does not name them."""
        base, new = (record.protocol.get("test_set_sha256") for record in (self.base, self.new))
        return None if base is None or new is None else bool(base == new)


@dataclass(frozen=True)
class MetricPair:
    """One metric of one model, and its two measurements."""

    records: RecordPair
    match: Match
    metric: Metric
    base: Measurement
    new: Measurement

    @property
    def both(self) -> tuple[tuple[str, Measurement], tuple[str, Measurement]]:
        """The measurements, each with the name of its record."""
        return ("the base", self.base), ("the new record", self.new)

    @cached_property
    def correct(self) -> "tuple[NDArray[Any], NDArray[Any]] | None":
        """Which images were right, (N,) before and after, if both records keep the samples behind their numbers."""
        base, new = self.records.base_samples, self.records.new_samples
        arrays = (base.get(correct_key(self.base.model)), new.get(correct_key(self.new.model)))
        before, after = (
            array if array is not None and len(array) == top1.n and array.mean() == top1.value else None
            for array, (_, top1) in zip(arrays, self.both, strict=True)
        )
        return None if before is None or after is None else (before, after)

    @cached_property
    def squared_errors(self) -> "tuple[NDArray[Any], NDArray[Any]] | None":
        """A regression's squared errors of the same samples, (N,) before and after, where both records keep them."""
        base, new = self.records.base_samples, self.records.new_samples
        arrays = (base.get(squared_error_key(self.base.model)), new.get(squared_error_key(self.new.model)))
        before, after = (
            array if array is not None and len(array) == m.n and _yields(array, m.value, self.metric.id) else None
            for array, (_, m) in zip(arrays, self.both, strict=True)
        )
        return None if before is None or after is None else (before, after)


def delta_of(pair: MetricPair) -> Delta | NotComparable:
    """Return the change of a metric, or why it cannot be compared."""
    return next(result for strategy in _STRATEGIES if (result := strategy(pair)) is not None)


def separate(pair: MetricPair) -> Delta | NotComparable:
    """Compare two numbers by their own intervals."""
    side_by_side = pair.records.side_by_side
    base, new = (_with_interval_of_run(m) if side_by_side else m for m in (pair.base, pair.new))
    includes_run_to_run = any(m.within_run is not None for m in (pair.base, pair.new))
    run_to_run = 0.0 if side_by_side or includes_run_to_run else pair.metric.run_to_run
    delta = deltas.between_independent(base, new, pair.metric, run_to_run)
    interleaved = side_by_side and pair.metric.hardware_dependent
    return replace(delta, strategy="paired") if interleaved and isinstance(delta, Delta) else delta


def _with_interval_of_run(measurement: Measurement) -> Measurement:
    """Return a measurement with the interval of its run's own samples, without the variation between runs."""
    within_run = measurement.within_run
    return measurement if within_run is None else measurement.model_copy(update={"interval": within_run})


def _incomparable(pair: MetricPair) -> NotComparable | None:
    """Reject a missing number, another machine, and another meter, which may cover other parts of the machine."""
    for record, measurement in pair.both:
        if measurement.value is None:
            return NotComparable(f"{record} has no number: {measurement.reason}", measurement.hint or "")
    if pair.metric.hardware_dependent and pair.records.other_machine:
        return NotComparable(f"measured on another machine: {pair.records.other_machine}", REMEASURE)
    if pair.metric.metered and pair.base.source != pair.new.source:
        return NotComparable(f"metered by {pair.base.source} and by {pair.new.source}", REMEASURE)
    return None


def _same_file(pair: MetricPair) -> Delta | None:
    """Report no change for the same file if its numbers can differ only by chance or because of the machine."""
    both, records = (pair.base, pair.new), pair.records
    if not pair.match.same_file or any(m.status not in RELIABLE or m.evidence == "estimated" for m in both):
        return None
    reliable = not any(map(reliability_problem, both))
    if pair.metric.sampled and reliable and not other_runtime(records.base, records.new, pair.new.axes):
        return deltas.unchanged(pair.metric, "anchored", note=_SAME_FILE, anchor=pair.match.new.id)
    same_images = records.same_test_set is not False and pair.base.n == pair.new.n
    if pair.metric.group in _OF_FILE_AND_IMAGES and same_images and pair.base.value == pair.new.value:
        return deltas.unchanged(pair.metric, "exact", n=pair.new.n, anchor=pair.match.new.id)
    return None


def _side_by_side(pair: MetricPair) -> Delta | NotComparable | None:
    """Use the ratio of two interleaved models: differences between sessions cancel."""
    if not pair.records.side_by_side or pair.metric.id not in _SAMPLED_RATIO_OF:
        return None
    ratio = _ratio(pair.records.new, pair, pair.match.base.id, pair.match.new.id)
    if ratio is not None and (problem := reliability_problem(ratio)):
        return NotComparable(problem.reason, problem.remedy)
    return None if ratio is None else deltas.from_pair(ratio, pair.metric)


def _anchored(pair: MetricPair) -> Delta | NotComparable | None:
    """Cancel the machine's changes by comparing with a model whose file is the same in both records.

    With another runtime this does not apply: the runtime's effect on both models would cancel as well.
    """
    records = pair.records
    if pair.metric.id not in _SAMPLED_RATIO_OF or other_runtime(records.base, records.new, pair.new.axes):
        return None
    for new_anchor in _compared_with(records.new, pair.match.new.id):
        base_anchor = records.anchors.get(new_anchor)
        if base_anchor is None:
            continue
        for as_student in (True, False):
            before, after = (
                _ratio(record, pair, *((anchor, model) if as_student else (model, anchor)))
                for record, anchor, model in (
                    (records.base, base_anchor, pair.match.base.id),
                    (records.new, new_anchor, pair.match.new.id),
                )
            )
            if before and after and not reliability_problem(before) and not reliability_problem(after):
                return deltas.from_anchor(before, after, pair.metric, anchor=new_anchor, as_student=as_student)
    return None


def _unreliable(pair: MetricPair) -> NotComparable | None:
    for record, measurement in pair.both:
        if problem := reliability_problem(measurement):
            return NotComparable(f"{record}'s number: {problem.reason}", problem.remedy)
    return None


def _counted(pair: MetricPair) -> Delta | NotComparable | None:
    if not pair.metric.counted:
        return None
    assert pair.base.value is not None
    assert pair.new.value is not None
    return deltas.between_counts(pair.base.value, pair.new.value)


def _other_test_data(pair: MetricPair) -> NotComparable | None:
    """Reject accuracies of different images."""
    if not pair.metric.scored:
        return None
    if pair.records.same_test_set is False:
        return NotComparable("scored on different test data", _SAME_DATA)
    base, new = pair.base.n or 0, pair.new.n or 0
    if base == new:
        return None
    return NotComparable(f"scored on {units.integer(base)} images and on {units.integer(new)}", _SAME_DATA)


def _image_by_image(pair: MetricPair) -> Delta | None:
    """Pair the predictions for the same images."""
    if pair.metric.id != "top1" or pair.new.axes or not pair.records.same_test_set or pair.correct is None:
        return None
    base, new = pair.correct
    return deltas.between_same_images(base, new) if len(base) == len(new) else None


def _sample_by_sample(pair: MetricPair) -> Delta | NotComparable | None:
    """Pair the errors of the same samples."""
    if pair.metric.id not in _POWERS or pair.new.axes or not pair.records.same_test_set or pair.squared_errors is None:
        return None
    return deltas.between_squared_errors(*pair.squared_errors, power=_POWERS[pair.metric.id])


def _yields(squared_errors: "NDArray[Any]", value: float | None, metric: str) -> bool:
    """Return whether the `metric` of the samples' squared errors, (N,), is `value`."""
    mean = float(squared_errors.mean()) ** _POWERS.get(metric, 1.0)
    return value is not None and math.isclose(value, mean, rel_tol=1e-9, abs_tol=0.0)


_STRATEGIES: tuple[Callable[[MetricPair], Delta | NotComparable | None], ...] = (
    _incomparable,
    _same_file,
    _side_by_side,
    _anchored,
    _unreliable,
    _counted,
    _other_test_data,
    _image_by_image,
    _sample_by_sample,
    separate,
)


def _ratio(record: RunRecord, pair: MetricPair, teacher: str, student: str) -> Pair | None:
    """Return the measured ratio of a teacher and a student at the pair's axes, if there is one."""
    ratios = record.pair_index.of(student, _SAMPLED_RATIO_OF[pair.metric.id])
    return next((p for p in ratios if p.teacher == teacher and p.axes == pair.new.axes), None)


def _compared_with(record: RunRecord, model: str) -> tuple[str, ...]:
    """Return the models that share a pair with `model`, in the record's order."""
    return _partners(record).get(model, ())


@once_per_record
def _partners(record: RunRecord) -> Mapping[str, tuple[str, ...]]:
    partners: dict[str, set[str]] = {}
    for pair in record.pairs:
        partners.setdefault(pair.student, set()).add(pair.teacher)
        partners.setdefault(pair.teacher, set()).add(pair.student)
    places = {id_: place for place, id_ in enumerate(record.cards)}
    return {model: tuple(sorted(others, key=places.__getitem__)) for model, others in partners.items()}
