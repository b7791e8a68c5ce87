"""How much worse a number may be: the metrics' own thresholds, unless the user sets others."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from kdbench.errors import InputError
from kdbench.registry import suggestion
from kdbench.results.metrics import METRICS, PAIR_METRICS, Metric

DEFAULT_METRICS = ("top1", "rmse", "latency_p50_ns", "peak_memory_bytes", "size_bytes", "macs", "energy_j")

_FORMS = "for example --threshold 10%, --threshold latency_p50_ns=10% or --threshold top1=0.3 (in points)"


@dataclass(frozen=True)
class Thresholds:
    """The user's thresholds: `by_metric`, and `relative` for all other metrics that are not shares.

    Raises InputError for one that is negative or not finite.
    """

    relative: float | None = None
    by_metric: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        everywhere = {} if self.relative is None else {"all metrics": self.relative}
        for name, threshold in {**everywhere, **self.by_metric}.items():
            if not 0 <= threshold < math.inf:
                message = f"the threshold of {name} cannot be {threshold}"
                raise InputError(message, "name a share, such as 0.1 for 10 %, or points for an accuracy, such as 0.3")

    def of(self, metric: Metric) -> float:
        """Return how much worse `metric` may be, as a share of the base or in points."""
        if metric.id in self.by_metric:
            return self.by_metric[metric.id]
        if self.relative is not None and not metric.in_points:
            return self.relative
        return metric.regression_threshold

    @classmethod
    def read(cls, texts: Sequence[str]) -> Self:
        """Read `10%` (all relative metrics), `latency_p50_ns=10%`, `top1=0.3` (points); the last of each kind counts.

        Raises InputError for anything else.
        """
        relative, by_metric = None, {}
        for text in texts:
            name, sign, amount = text.rpartition("=")
            if sign:
                metric = comparable(name.strip())
                by_metric[metric.id] = _read(amount, text, in_points=metric.in_points)
            else:
                relative = _read(amount, text)
        return cls(relative, by_metric)


def comparable(id_: str) -> Metric:
    """Return the metric called `id_`; raises InputError for an unknown one, and for one of a model and its teacher."""
    metric, pair = METRICS.get(id_), PAIR_METRICS.get(id_)
    if pair is not None:
        hint = f"compare {pair.compares} instead" if pair.compares else "name metrics of single models, such as top1"
        raise InputError(f"{id_} is of a model and its teacher: it is not compared between runs", hint)
    if metric is None:
        raise InputError(f"unknown metric {id_!r}", suggestion(id_, METRICS))
    return metric


def metrics_to_compare(metrics: Sequence[str], thresholds: Thresholds) -> list[Metric]:
    """Return the metrics with the ids `metrics`, each once; by default DEFAULT_METRICS.

    Raises InputError for an unknown metric, and for a threshold of a metric that is not compared: whoever sets a
    threshold expects a gate.
    """
    compared = [comparable(id_) for id_ in dict.fromkeys(metrics or DEFAULT_METRICS)]
    for id_ in thresholds.by_metric:
        if comparable(id_) not in compared:
            hint = f"choose the metrics with --metric: {', '.join([id_, *(metric.id for metric in compared)])}"
            raise InputError(f"{id_} has a threshold, and {id_} is not compared", hint)
    return compared


def _read(text: str, option: str, *, in_points: bool = False) -> float:
    """Read a percentage as a share, which needs its sign (5 could mean 5 % or 500 %), or plain points."""
    match = re.fullmatch(rf"\s*(\d+(?:\.\d*)?|\.\d+)\s*{'' if in_points else '%'}\s*", text)
    if match is None:
        kind = "a number of points" if in_points else "a percentage"
        raise InputError(f"--threshold {option}: {text!r} is not {kind}", _FORMS)
    return float(match[1]) / (1 if in_points else 100)
