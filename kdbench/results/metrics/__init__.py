"""Every metric kdbench knows: its unit, its direction, its formula. Tables, gates and plots read them here."""

from kdbench.errors import InputError
from kdbench.results.metrics.costs import COSTS
from kdbench.results.metrics.energy import ENERGY
from kdbench.results.metrics.metric import Metric
from kdbench.results.metrics.pairs import BEHIND, PAIR_OF, PAIRS
from kdbench.results.metrics.predictions import PREDICTIONS

__all__ = ["BEHIND", "METRICS", "PAIR_METRICS", "PAIR_OF", "PREDICTIONS", "Metric", "metric", "parity_tolerance"]

# float32 sums taken in another order differ by a few units in the last place per layer; another computation differs
# by whole logits. The tolerance is relative to the largest logit, with a floor for networks that say little.
_PARITY_RELATIVE = 1e-3
_PARITY_FLOOR = 1e-4

METRICS: dict[str, Metric] = {metric.id: metric for metric in (*PREDICTIONS, *COSTS, *ENERGY)}
PAIR_METRICS: dict[str, Metric] = {metric.id: metric for metric in PAIRS}


def parity_tolerance(largest: float) -> float:
    """Return how far two computations of one network may differ in a logit, `largest` being its largest magnitude."""
    return max(_PARITY_FLOOR, _PARITY_RELATIVE * largest)


def metric(id_: str) -> Metric:
    """Return the metric called `id_`, of models or of pairs; raises InputError for an unknown one."""
    found = METRICS.get(id_) or PAIR_METRICS.get(id_)
    if found is None:
        raise InputError(f"unknown metric {id_!r}", f"known: {', '.join([*METRICS, *PAIR_METRICS])}")
    return found
