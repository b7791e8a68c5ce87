"""A run of a teacher and a student on a Raspberry Pi 5, and targets to hold it against."""

from collections.abc import Callable
from typing import Any

import pytest
from judge.on_a_pi import SINGLE, criteria

from kdbench.judge.readiness import judge
from kdbench.judge.target import Target, target_from
from kdbench.results.cards import ModelCard
from kdbench.results.records import Environment, Interval, Measurement, Pair, RunRecord, measured

PI = {"board": "Raspberry Pi 5 Model B Rev 1.0", "cpu": "Cortex-A76", "cores_usable": 4, "memory_bytes": 8_200_000_000}


def within(low: float, high: float) -> Interval:
    return Interval(low=low, high=high)


def _card(id_: str, **changes: Any) -> ModelCard:
    values: dict[str, Any] = {
        "id": id_,
        "name": id_,
        "role": "teacher" if id_ == "teacher" else "student",
        "parents": () if id_ == "teacher" else ("teacher",),
        "file": f"{id_}.onnx",
        "sha256": "0" * 64,
        "input_shape": (1, 8, 8),
        "classes": 10,
        "parameters": 1000,
    }
    return ModelCard(**{**values, **changes})


def _measurements(id_: str) -> list[Measurement]:
    times = 4 if id_ == "teacher" else 1
    top1 = 0.905 if id_ == "teacher" else 0.90
    return [
        measured(id_, "top1", top1, interval=within(top1 - 0.01, top1 + 0.01), n=3000),
        measured(id_, "top1", 0.999, axes={"part": "train"}, interval=within(0.998, 1), n=3000),
        measured(id_, "top5", 0.99, interval=within(0.985, 0.995), n=3000),
        measured(id_, "class_top1", 0.5, axes={"class": "3"}, interval=within(0.4, 0.6), n=300),
        measured(id_, "latency_p50_ns", times * 10e6, axes=SINGLE, interval=within(times * 9.5e6, times * 10.5e6)),
        measured(id_, "peak_memory_bytes", times * 50e6, axes=SINGLE, n=3),
        measured(id_, "size_bytes", times * 5e6),
        measured(id_, "macs", times * 100e6),
        measured(id_, "parameters", times * 1e6),
        measured(id_, "training_s", 12.0),
    ]


def _pairs(id_: str) -> list[Pair]:
    both = {"teacher": "teacher", "student": id_}
    return [
        Pair(metric="top1_drop", value=0.5, interval=within(0.2, 0.8), n=3000, **both),
        Pair(metric="negative_flips", value=0.012, interval=within(0.009, 0.016), n=3000, **both),
        Pair(metric="mcnemar_p", value=0.03, n=57, **both),
        Pair(metric="worst_class_drop", axes={"class": "3"}, value=2.0, interval=within(-1.0, 5.0), n=300, **both),
        Pair(metric="ece_shift", value=0.4, n=3000, **both),
        Pair(metric="latency_ratio", axes=SINGLE, value=4.0, interval=within(3.8, 4.2), **both),
        Pair(metric="size_ratio", value=4.0, **both),
        Pair(metric="macs_ratio", value=4.0, **both),
    ]


def _run(*students: str, **changes: Any) -> RunRecord:
    names = students or ("student",)
    values: dict[str, Any] = {
        "kind": "run",
        "name": "small",
        "created": "2025-06-01T12:00:00+00:00",
        "command": "kdbench run small",
        "protocol": {"provider": "cpu", "runtime": ["onnxruntime"]},
        "environment": Environment(host=PI, libraries={"onnxruntime": "1.22.0"}),
        "models": tuple(_card(id_) for id_ in ("teacher", *names)),
        "measurements": tuple(m for id_ in ("teacher", *names) for m in _measurements(id_)),
        "pairs": tuple(p for id_ in names for p in _pairs(id_)),
    }
    return RunRecord(**{**values, **changes})


@pytest.fixture
def make_run() -> Callable[..., RunRecord]:
    """Return the maker of the run: students by name, and keywords that replace fields of the record."""
    return _run


@pytest.fixture
def make_card() -> Callable[..., ModelCard]:
    """Return the maker of a card by its id; keywords replace its fields."""
    return _card


@pytest.fixture
def on_a_pi() -> Callable[..., Target]:
    """Return the maker of a target for the Raspberry Pi 5 from criteria; keywords replace keys of the file."""

    def make(*criteria: dict[str, Any], **keys: Any) -> Target:
        device = {"board": "Raspberry Pi 5", "provider": "cpu"}
        return target_from({"name": "pi", "title": "a Pi", "device": device, "criterion": list(criteria), **keys})

    return make


@pytest.fixture
def one(make_run, on_a_pi):
    """Return the only criterion of the student, judged by one criterion of a target."""

    def judged(record=None, **criterion):
        (check,) = criteria(judge(record or make_run(), on_a_pi(criterion)))
        return check

    return judged
