"""kdbench's side of both experiments: its own latency pass, as `kdbench bench` runs it, and what came of it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.errors import MeasurementError
from kdbench.measure.bench_model import BenchModel
from kdbench.measure.context import Context
from kdbench.measure.latency.ratios import ratios_by_session
from kdbench.measure.latency.sessions import SessionSamples, sample
from kdbench.measure.passes.latency import latency_findings
from kdbench.recipe.tables.measure import Measure
from kdbench.results.records import Interval
from kdbench.statistics import Clustered
from kdbench.worker.jobs import JobModel

_NEVER, _AT_ONCE = 0.0, math.inf  # precisions that no interval reaches, and that any does
_DIGITS = 6  # of a log ratio: a millionth


def use_full_budget(budget_s: float, cores: Sequence[int]) -> Measure:
    """Return one thread, batch 1, back to back, in as many sessions as the budget admits."""
    unchecked = {"batch": (1,), "precision": _NEVER}  # outside what a recipe may say
    return Measure(budget_s=budget_s, cores=tuple(cores), energy="off").model_copy(update=unchecked)


def one_session(seconds: float, cores: Sequence[int]) -> Measure:
    """Return one thread, batch 1, back to back, in one process of about `seconds`.

    A session is half the budget for each that is always taken.
    """
    return use_full_budget(2 * seconds, cores).model_copy(update={"precision": _AT_ONCE, "sessions": 1})


def compare(
    bench_models: Sequence[BenchModel], models: Mapping[str, JobModel], how: Measure, folder: Path, seed: int
) -> dict[str, Any]:
    """Compare a teacher and a student; return JSON values.

    `ratio` with `low` and `high`; `sessions`, each with its `log_ratio` (median of its rounds), its `rounds` (the log
    ratio of each) and its `p50_ns` by model.
    Raises MeasurementError where there is no ratio.
    """
    collected = sampled(bench_models, models, how, folder, seed)
    findings = latency_findings(bench_models, collected, how)
    (pair,) = (p for p in findings.pairs if p.metric == "latency_ratio")
    if pair.value is None:
        raise MeasurementError(f"no ratio: {pair.reason}")
    return {"ratio": pair.value, **_bounds(pair.interval), "sessions": _sessions(collected, bench_models)}


def p50_ns(bench_model: BenchModel, models: Mapping[str, JobModel], how: Measure, folder: Path, seed: int) -> float:
    """Return the median latency of one model in the one fresh process that measured it."""
    (only,) = _medians_ns(sampled([bench_model], models, how, folder, seed).samples[bench_model.id, 0]).values()
    return only


def sampled(
    bench_models: Sequence[BenchModel], models: Mapping[str, JobModel], how: Measure, folder: Path, seed: int
) -> SessionSamples:
    """Return the samples of the sessions of a latency pass; raises MeasurementError if a model fails."""
    collected = sample(Context(bench_models, how, jobs=models, folder=folder), bench_models, seed)
    for (id_, _), reason in collected.failed.items():
        raise MeasurementError(f"{id_}: {reason}")
    return collected


def _sessions(sampled: SessionSamples, bench_models: Sequence[BenchModel]) -> list[dict[str, Any]]:
    teacher, student = (sampled.samples[s.id, 0] for s in bench_models)
    medians = {s.id: _medians_ns(sampled.samples[s.id, 0]) for s in bench_models}
    return [
        {
            "log_ratio": round(float(np.median(rounds)), _DIGITS),
            "p50_ns": {id_: of_session[session] for id_, of_session in medians.items()},
            "rounds": [round(float(ratio), _DIGITS) for ratio in rounds],
        }
        for session, rounds in ratios_by_session(teacher, student).items()
    ]


def _medians_ns(data: Clustered) -> dict[int, float]:
    return {int(s): float(np.median(data.values[data.session == s])) for s in np.unique(data.session)}


def _bounds(interval: Interval | None) -> dict[str, float | None]:
    return {"low": interval.low if interval else None, "high": interval.high if interval else None}
