"""How much more accurate one student is than another, sample by sample: what distillation, or one method, adds."""

from kdbench import statistics
from kdbench.evaluate.predictions import Predictions
from kdbench.results.findings import estimated
from kdbench.results.metrics import metrics_in
from kdbench.results.records import Measurement, missing

GAINS = metrics_in("gain")
"""The metrics of a student beside another one, on the test set."""


def gain_measurements(student: Predictions, other: Predictions) -> tuple[Measurement, ...]:
    """Return the GAINS of a student: its top-1 and top-5 minus those of `other`, in percentage points.

    Both are predictions for the same samples, so the interval is that of a paired difference, narrower than that of two
    independent shares. The measurements belong to `student`; their axis `beside` is the id of the other.
    """
    axes = {"beside": other.id}
    reason = next(filter(None, (student.without_top5, other.without_top5)), None)
    pairs = zip(GAINS, (1, 5), (None, reason), strict=True)
    return tuple(
        missing(student.id, metric, missed, axes=axes)
        if missed is not None
        else estimated(student.id, metric, difference_in_points(student, other, best), axes=axes)
        for metric, best, missed in pairs
    )


def difference_in_points(student: Predictions, other: Predictions, best: int) -> statistics.Estimate:
    """Return by how many points more samples have their label among the `best` classes of `student` than of `other`."""
    first, second = student.ranks < best, other.ranks < best
    return statistics.in_points(
        statistics.paired_share_difference(int((first & ~second).sum()), int((second & ~first).sum()), len(first))
    )
