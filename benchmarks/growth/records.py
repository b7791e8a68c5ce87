"""Synthetic records of any size: valid, with every kind of number that a run or a bench writes, the same for a seed."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

from benchmarks.growth.cards import SEEDS, synthetic_cards
from kdbench.results.cards import ModelCard
from kdbench.results.metrics import PAIR_METRICS, metrics_in
from kdbench.results.records import (
    Axes,
    Diagnostic,
    Environment,
    Interval,
    Layer,
    Measurement,
    Pair,
    RunRecord,
    measured,
    missing,
)

_TRAIN: Axes = {"part": "train"}
_CALLS: Axes = {"provider": "cpu", "threads": 1, "batch": 1}
_LAYERS = ("Conv", "Conv", "MatMul", "Add", "MaxPool", "Softmax")
_BATCHES, _THREADS = (1, 32, 128), (1, 4)
_RELATIVE = {"agreement": 0.9, "predictive_kl": 0.2, "standardized_kl": 0.1, "logit_spearman": 0.8}


@dataclass(frozen=True)
class Parts:
    """What a record contains beside accuracies, sizes, latencies and the pairs with the teacher."""

    classes: int = 10
    energy: bool = True
    offline: bool = True
    layers: bool = True
    seeds: bool = True
    faults: bool = True


def synthetic_record(
    models: int, *, seed: int = 0, name: str = "synthetic", hour: int = 0, parts: Parts | None = None
) -> RunRecord:
    """Return a record of `models` cards, one teacher for every 24 of them, created `hour` hours into 2026.

    A student has two seeds and a place in a sweep. About one in twenty numbers has no value or is unstable. Two records
    with one seed differ in their `hour` only where they measure time.
    """
    chosen, rng = parts or Parts(), random.Random(seed)
    cards = synthetic_cards(models, rng, several_seeds=chosen.seeds)
    teachers = {card.id: card for card in cards if card.role == "teacher"}
    students = [card for card in cards if card.parents]
    clock = random.Random(f"{seed} {hour}")
    measurements = [m for card in cards for m in _measurements(card, rng, clock, chosen)]
    measurements += _besides(students, rng)
    pairs = [pair for card in students for pair in _pairs(card, teachers[card.parents[0]], rng, clock, chosen)]
    return RunRecord(
        kind="run",
        name=name,
        title=f"A synthetic run of {models} models",
        created=f"2026-{1 + hour // 672 % 12:02}-{1 + hour // 24 % 28:02}T{hour % 24:02}:00:00+00:00",
        command=f"kdbench run {name}",
        recipe=_recipe(cards, name),
        recipe_hash=f"{seed:064x}",
        protocol=_protocol(chosen),
        environment=_environment(hour),
        models=cards,
        measurements=measurements,
        pairs=pairs,
        layers=[layer for card in cards for layer in _layers(card, rng)] if chosen.layers else (),
        warnings=[*_warnings(cards), Diagnostic(code="virtual_machine", message="this is a virtual machine")],
    )


def _around(value: float, rng: random.Random, most: float = math.inf) -> tuple[float, Interval]:
    """Return a number near `value`, at most `most`, and an interval around it."""
    value = min(value * rng.uniform(0.9, 1.1), most)
    return value, Interval(low=0.97 * value, high=min(1.03 * value, most))


def _measured(card: ModelCard, metric: str, value: float, rng: random.Random, axes: Axes, *, faults: bool = True):
    value, interval = _around(value, rng, 1.0 if value < 1 else math.inf)
    chance = rng.random() if faults else 1.0
    if chance < 0.02:
        return missing(
            card.id, metric, "the process ended early: signal 9", status="error", hint="run again", axes=axes
        )
    unstable = "the clock frequency changed" if chance < 0.05 else None
    return measured(card.id, metric, value, axes=axes, interval=interval, n=1000, source="synthetic", unstable=unstable)


def _measurements(card: ModelCard, rng: random.Random, clock: random.Random, parts: Parts) -> Iterator[Measurement]:
    yield from _scores(card, partial(_measured, card, rng=rng, faults=parts.faults), parts)
    yield from _costs(card)
    yield from _times(partial(_measured, card, rng=clock, faults=parts.faults), parts)


def _scores(card: ModelCard, scored: Callable[..., Measurement], parts: Parts) -> Iterator[Measurement]:
    values = {"top1": 0.85, "top5": 0.95, "loss": 1.2, "ece": 0.05, **(_RELATIVE if card.parents else {})}
    for axes in ({}, _TRAIN):
        for metric, value in values.items():
            yield scored(metric, value, axes=axes)
    yield scored("balanced_accuracy", 0.84, axes={})
    for class_ in range(parts.classes):
        yield scored("class_top1", 0.8, axes={"class": f"class {class_}"})
    for metric in metrics_in("risk"):
        yield scored(metric, 2.0, axes={})


def _costs(card: ModelCard) -> Iterator[Measurement]:
    for metric, count in {"size_bytes": 60_000, "weight_bytes": 58_000, "parameters": 14_000, "macs": 400_000}.items():
        yield measured(card.id, metric, count + card.parameters)
    yield measured(card.id, "parity_max_abs", 1e-6, n=216)
    yield measured(card.id, "training_s", card.training.seconds if card.training else 0.0, n=1)
    yield missing(card.id, "training_j", "RAPL: no counters")


def _times(timed: Callable[..., Measurement], parts: Parts) -> Iterator[Measurement]:
    for metric in ("load_ns", "first_run_ns", "steady_run_ns"):
        yield timed(metric, 2e6, axes=_CALLS)
    for threads, batch in product(_THREADS, _BATCHES):
        axes = {"provider": "cpu", "threads": threads, "batch": batch}
        for metric in metrics_in("latency"):
            yield timed(metric, 3e4 * batch**0.8 / threads**0.5, axes=axes)
        yield timed("throughput_per_s", batch**0.2 * 1e5, axes=axes)
    energy = {"energy_j": 1.5e-3, "energy_net_j": 1e-3, "energy_run_j": 1.5e-2} if parts.energy else {}
    for batch in (1, 128):
        for metric, value in {"peak_memory_bytes": 6e7, "model_memory_bytes": 1e6, **energy}.items():
            yield timed(metric, value, axes={**_CALLS, "batch": batch})
    axes = {"provider": "cpu", "threads": 1, "mode": "offline"}
    rates = {batch: 1e5 * batch**0.3 for batch in (1, 2, 4, 8, 16)} if parts.offline else {}
    for batch, rate in rates.items():
        yield timed("throughput_per_s", rate, axes={**axes, "batch": batch})
    if rates:
        yield timed("max_throughput_per_s", 4e5, axes=axes)


def _besides(students: Sequence[ModelCard], rng: random.Random) -> Iterator[Measurement]:
    """Yield the mismatches of distilled students beside the first one that learned from labels alone."""
    alone = next((card for card in students if not card.teachers), None)
    if alone is None:
        return
    for card in students:
        for axes in ({"beside": alone.id}, {**_TRAIN, "beside": alone.id}) if card.teachers else ():
            for metric in metrics_in("mismatches"):
                yield measured(card.id, metric, float(rng.randrange(100)), axes=axes, n=300)


def _pairs(
    card: ModelCard, teacher: ModelCard, rng: random.Random, clock: random.Random, parts: Parts
) -> Iterator[Pair]:
    def pair(metric: str, value: float, axes: Axes, source: random.Random) -> Pair:
        value, interval = _around(value, source)
        counted = PAIR_METRICS[metric].repeatability == 0
        return Pair(
            teacher=teacher.id,
            student=card.id,
            metric=metric,
            value=value,
            interval=None if counted else interval,
            axes=dict(axes),
            n=None if counted else 300,
        )

    yield pair("top1_drop", 1.5, {}, rng)
    for metric in PAIR_METRICS.values():
        if metric.group == "flips":
            yield pair(metric.id, 0.02, {"class": "class 0"} if metric.finds else {}, rng)
    yield pair("size_ratio", 4.0, {}, rng)
    yield pair("macs_ratio", 4.0, {}, rng)
    yield pair("memory_ratio", 1.1, _CALLS, clock)
    for threads in _THREADS:
        for batch in _BATCHES:
            yield pair("latency_ratio", 3.0, {"provider": "cpu", "threads": threads, "batch": batch}, clock)
    if parts.energy:
        yield pair("energy_ratio", 3.0, _CALLS, clock)
    if parts.offline:
        yield pair("throughput_ratio", 2.5, {"provider": "cpu", "threads": 1, "mode": "offline"}, clock)


def _layers(card: ModelCard, rng: random.Random) -> Iterator[Layer]:
    times = [rng.uniform(1e3, 1e5) for _ in _LAYERS]
    for place, (operator, time) in enumerate(zip(_LAYERS, times, strict=True)):
        yield Layer(
            model=card.id,
            name=f"/blocks.{place}/{operator}",
            operator=operator,
            macs=rng.randrange(1000) if operator in {"Conv", "MatMul"} else 0,
            time_ns=time,
            time_share=time / sum(times),
            axes=_CALLS,
        )


def _warnings(cards: Sequence[ModelCard]) -> list[Diagnostic]:
    remedy = "compare batched runs, or MACs: the call's own cost hides part of the speed-up"
    return [
        Diagnostic(code="near_floor", message=f"any call costs 3.1 of its {place} µs", remedy=remedy, model=card.id)
        for place, card in enumerate(cards, 4)
    ]


def _recipe(cards: Sequence[ModelCard], name: str) -> dict[str, object]:
    entries = {card.name: card for card in cards}.values()
    training = {"batch": 64, "optimizer": {"lr": 0.01}}
    tables = {
        role: [{"name": card.name, "training": training} for card in entries if card.role == role]
        for role in ("teacher", "student")
    }
    return {"name": name, "seeds": list(SEEDS), "data": {"name": "digits"}, **tables}


def _protocol(parts: Parts) -> dict[str, object]:
    source = {"name": "rapl", "scope": "cpu.package", "evidence": "measured", "idle_w": [10.0, 10.5]}
    energy = {"energy_pass": {"sources": [source], "windows": 6, "window_s": 1.0, "mode": "quick", "resolution": 0.01}}
    return {
        "provider": "cpu",
        "threads": list(_THREADS),
        "batch": list(_BATCHES),
        "mode": ["stream", *(["offline"] if parts.offline else [])],
        "test_set_sha256": f"{12345:064x}",
        "sessions_taken": 8,
        **(energy if parts.energy else {}),
    }


def _environment(hour: int) -> Environment:
    host = {"cpu": "Synthetic CPU", "machine": "x86_64", "cores_usable": 4, "cores_logical": 4, "virtualization": "yes"}
    libraries = {"kdbench": "0.1.0", "onnxruntime": f"1.{20 + hour // 500}.0"}
    return Environment(host=host, libraries=libraries, git_commit=f"{hour:040x}", git_dirty=False)
