"""Every metric: its unit, direction, formula and flags, declared once. Tables, gates and plots read them here.

Only values belong here, and functions that look them up; imports nothing of kdbench but `units` and `errors`.
Everything that holds, judges or shows numbers imports it.
"""

from kdbench.errors import InputError
from kdbench.results.metrics.costs import COSTS
from kdbench.results.metrics.energy import ENERGY
from kdbench.results.metrics.metric import Group, Metric
from kdbench.results.metrics.pairs import PAIRS
from kdbench.results.metrics.predictions import PREDICTIONS

__all__ = ["METRICS", "PAIR_METRICS", "Group", "Metric", "metric", "metrics_in", "pair_of", "parity_tolerance"]

METRICS: dict[str, Metric] = {metric.id: metric for metric in (*PREDICTIONS, *COSTS, *ENERGY)}
"""The metrics of one model, by id."""

PAIR_METRICS: dict[str, Metric] = {metric.id: metric for metric in PAIRS}
"""The metrics of a student and its teacher, by id."""

# float32 sums in another order differ by a few units in the last place per layer; another computation differs by whole
# logits. The tolerance is relative to the largest logit, with a floor for networks with small logits.
_PARITY_RELATIVE = 1e-3
_PARITY_FLOOR = 1e-4


def metric(id_: str) -> Metric:
    """Return the metric called `id_`, of models or of pairs; raises InputError for an unknown one."""
    declared = METRICS.get(id_) or PAIR_METRICS.get(id_)
    if declared is None:
        raise InputError(f"unknown metric {id_!r}", f"known: {', '.join([*METRICS, *PAIR_METRICS])}")
    return declared


def metrics_in(*groups: Group) -> tuple[str, ...]:
    """Return the ids of the models' metrics in `groups`, in the order in which they are declared."""
    return tuple(id_ for id_, declared in METRICS.items() if declared.group in groups)


def pair_of(id_: str) -> Metric | None:
    """Return the pair's metric that compares two models by the metric `id_`; None if no pair does."""
    return next((pair for pair in PAIRS if pair.compares == id_), None)


def parity_tolerance(largest: float) -> float:
    """Return how far two computations of one network may differ in a logit, `largest` being its largest magnitude."""
    return max(_PARITY_FLOOR, _PARITY_RELATIVE * largest)
