"""How much worse a number may be: the declared defaults, and what a user says instead."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from kdbench.errors import InputError
from kdbench.registry import suggestion
from kdbench.results.metrics import METRICS, Metric

DEFAULT_METRICS = ("top1", "latency_p50_ns", "peak_memory_bytes", "size_bytes", "macs", "energy_j")

_FORMS = "for example --threshold 10%, --threshold latency_p50_ns=10% or --threshold top1=0.3 (in points)"


@dataclass(frozen=True)
class Thresholds:
    """What is said instead of the defaults: `own` by metric, `relative` for all others that are no shares."""

    relative: float | None = None
    own: Mapping[str, float] = field(default_factory=dict)

    def of(self, metric: Metric) -> float:
        """Return how much worse `metric` may be, as a share of the base or in points."""
        if metric.id in self.own:
            return self.own[metric.id]
        if self.relative is not None and not metric.in_points:
            return self.relative
        return metric.regression_threshold

    @classmethod
    def read(cls, texts: Sequence[str]) -> Self:
        """Read `10%` (all relative ones), `latency_p50_ns=10%`, `top1=0.3` (points); the last of a kind counts.

        Raises InputError for anything else.
        """
        relative, own = None, {}
        for text in texts:
            name, sign, amount = text.rpartition("=")
            if sign:
                metric = comparable(name.strip())
                own[metric.id] = _points(amount, text) if metric.in_points else _share(amount, text)
            else:
                relative = _share(amount, text)
        return cls(relative, own)


def comparable(id_: str) -> Metric:
    """Return the metric called `id_`; raises InputError for one that is unknown, or that has no better direction."""
    metric = METRICS.get(id_)
    if metric is None:
        raise InputError(f"unknown metric {id_!r}", suggestion(id_, METRICS))
    if metric.higher_is_better is None:
        raise InputError(f"{id_} has no better direction", "compare another metric")
    return metric


def asked(metrics: Sequence[str], thresholds: Thresholds) -> list[Metric]:
    """Return the metrics to compare, each once: those of these ids, by default DEFAULT_METRICS.

    Raises InputError for one that cannot be compared, and for a threshold of one that is not: who sets it takes it for
    gated.
    """
    found = [comparable(id_) for id_ in dict.fromkeys(metrics or DEFAULT_METRICS)]
    for id_ in thresholds.own:
        if comparable(id_) not in found:
            others = " ".join(f"--metric {metric.id}" for metric in found)
            raise InputError(f"--threshold {id_}=…, and {id_} is not compared", f"add --metric {id_} to {others}")
    return found


def _share(text: str, whole: str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*%\s*", text)
    if found is None:
        raise InputError(f"--threshold {whole}: {text!r} is not a number of per cent", _FORMS)
    return float(found[1]) / 100


def _points(text: str, whole: str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*", text)
    if found is None:
        raise InputError(f"--threshold {whole}: {text!r} is not a number of points", _FORMS)
    return float(found[1])
