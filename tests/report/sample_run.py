"""A digits run made by hand: every kind of finding that a report shows, with numbers that can be checked by eye."""

import math
from typing import Any

from kdbench.results.cards import Epoch, ModelCard, Training
from kdbench.results.records import Diagnostic, Environment, Interval, Measurement, Pair, RunRecord, measured, missing

SINGLE = {"provider": "cpu", "threads": 1, "batch": 1}


BATCHED = {"provider": "cpu", "threads": 1, "batch": 128}


NO_COUNTER = "no energy counter could be read: /sys/class/powercap is empty and no NVIDIA driver is loaded"


COUNTER_HINT = "run on the bare machine as root, or with --estimate-energy for an estimate"


# name: role, seed, top1, latency_mean_ns, size_bytes, macs, parameters, training_s
MODELS: dict[str, tuple[str, int, float, float, int, int, int, float]] = {
    "teacher": ("teacher", 0, 0.9833, 1_210_000.0, 4_612_000, 38_512_128, 1_150_000, 41.3),
    "student-alone": ("student", 0, 0.9611, 228_000.0, 381_000, 3_120_640, 93_000, 9.7),
    "student-kd": ("student", 0, 0.9778, 226_000.0, 381_000, 3_120_640, 93_000, 10.4),
    "student-hint": ("student", 0, 0.9750, 231_000.0, 381_000, 3_120_640, 93_000, 14.9),
}


# student: speed-up at batch 1, batched, drop in points
PAIRS = {
    "student-alone": ((5.31, 5.12, 5.50), (7.9, 7.6, 8.2), (2.22, 0.6, 3.9)),
    "student-kd": ((5.35, 5.15, 5.54), (7.9, 7.5, 8.2), (0.55, -0.6, 1.7)),
    "student-hint": ((5.24, 5.02, 5.45), None, (0.83, -0.3, 1.9)),
}


def interval(low: float, high: float) -> Interval:
    return Interval(low=low, high=high)


def card(name: str, /, **changes: Any) -> ModelCard:
    role, seed, top1, *_, parameters, seconds = MODELS[name]
    objective = {"student-kd": "0.1·CE + 0.9·KD(T=4)", "student-hint": "1·CE + 100·MSE(hint)"}.get(name, "CE")
    values: dict[str, Any] = {
        "id": name,
        "name": name,
        "role": role,
        "parents": () if role == "teacher" else ("teacher",),
        "architecture": "convnet",
        "seed": seed,
        "file": f"models/{name}.onnx",
        "sha256": f"{list(MODELS).index(name):x}" * 64,
        "input_shape": (1, 8, 8),
        "classes": 10,
        "parameters": parameters,
        "opset": 20,
        "training": Training(
            objective=objective,
            epochs=4,
            best_epoch=3,
            kept_epoch=3,
            device="cpu",
            threads=2,
            seconds=seconds,
            precision="32",
            seed=seed,
            curve=_curve(top1, seconds),
        ),
    }
    if changes.get("seed"):  # another file
        values["sha256"] = f"{values['sha256'][:32]}{changes['seed']:032x}"
    return ModelCard(**{**values, **changes})


def _measurements(name: str) -> list[Measurement]:
    _, _, top1, mean, size, macs, parameters, seconds = MODELS[name]
    measurements = [
        measured(name, "top1", top1, interval=interval(top1 - 0.016, min(top1 + 0.013, 1.0)), n=360, source="test set"),
        measured(name, "top5", 1.0, interval=interval(0.9898, 1.0), n=360, source="test set"),
        measured(name, "loss", 2 * (1 - top1), n=360),
        *_latencies(name, mean),
        measured(name, "macs", macs, source="onnx graph"),
        measured(name, "parameters", parameters),
        measured(name, "weight_bytes", 4 * parameters),
        measured(name, "size_bytes", size),
        measured(name, "load_ns", 9.4e6, interval=interval(9.1e6, 12.0e6), n=6),
        measured(name, "first_run_ns", 1.9e6, n=6),
        measured(name, "steady_run_ns", 0.98 * mean, n=6),
        measured(name, "peak_memory_bytes", 5.5e7 + 3 * size, axes=SINGLE, n=3),
        measured(name, "peak_memory_bytes", 5.5e7 + 20 * size, axes=BATCHED, n=3),
        measured(name, "model_memory_bytes", 3 * size, axes=SINGLE, n=3),
        measured(name, "model_memory_bytes", 20 * size, axes=BATCHED, n=3),
        measured(name, "parity_max_abs", 4.7e-6, n=64),
        measured(name, "training_s", seconds),
        *(
            missing(name, f"energy_{which}j", NO_COUNTER, hint=COUNTER_HINT, axes=axes)
            for axes in (SINGLE, BATCHED)
            for which in ("", "net_", "run_")
        ),
    ]
    if name != "teacher":
        measurements += [
            measured(name, "agreement", top1 + 0.005, interval=interval(top1 - 0.01, top1 + 0.02), n=360),
            measured(name, "predictive_kl", math.nan if name == "student-alone" else 0.31 - 0.25 * top1, n=360),
        ]
    return measurements


def record(**changes: Any) -> RunRecord:
    """Return a digits run: a teacher and three students; energy unavailable, one model unstable when batched and so
    without a ratio there, one loss not finite, two warnings, training curves.
    """
    values: dict[str, Any] = {
        "kind": "run",
        "name": "digits",
        "title": "Handwritten digits: a convolutional teacher and three students",
        "created": "2025-06-01T12:00:00+00:00",
        "command": "kdbench run digits --out /home/somebody/runs/digits",
        "recipe": {
            "name": "digits",
            "seeds": [0],
            "data": {"name": "digits", "root": "/home/somebody/data", "validation": 0.1, "mean": None},
            "teacher": [{"name": "teacher", "model": {"name": "convnet", "widths": [64, 128]}}],
            "student": [{"name": "student-kd", "terms": [{"method": "kd", "temperature": 4.0}]}],
        },
        "recipe_hash": "ab" * 32,
        "protocol": {"sessions": 5, "blocks": 12, "batch": 128, "budget_s": 10.0, "null_graph_floor_ns": 6100.0},
        "environment": Environment(
            host={"cpu": "Example CPU | 4 cores", "cores": 4, "memory_bytes": 16_000_000_000, "governor": None},
            libraries={"onnxruntime": "1.22.0", "numpy": "2.2.0"},
            git_commit="0123abc",
            git_dirty=True,
        ),
        "models": tuple(card(name) for name in MODELS),
        "measurements": tuple(m for name in MODELS for m in _measurements(name)),
        "pairs": tuple(pair for student in PAIRS for pair in _pairs(student)),
        "warnings": (
            Diagnostic(
                code="frequency-scaling",
                message="the CPU's frequency was not fixed: latencies may drift between sessions",
                remedy="set the governor to performance: `sudo cpupower frequency-set -g performance`",
            ),
            Diagnostic(
                code="unstable",
                message="the sessions of student-hint at batch 128 disagree by 31 %",
                remedy="close other programs and run again with a larger --budget",
                model="student-hint",
            ),
        ),
    }
    return RunRecord(**{**values, **changes})


def _curve(top1: float, seconds: float) -> tuple[Epoch, ...]:
    return tuple(
        Epoch(
            epoch=epoch,
            train_loss=2.3 * top1 / (epoch + 1),
            train_top1=min(top1 + 0.01, 1.0) * (1 - 0.6**epoch),
            validation_loss=2.4 / top1**4 / (epoch + 1),
            validation_top1=top1 * (1 - 0.55**epoch),
            learning_rate=0.05 / epoch,
            seconds=seconds / 4,
        )
        for epoch in range(1, 5)
    )


def _latencies(name: str, mean: float) -> list[Measurement]:
    measurements = []
    for axes, call in ((SINGLE, mean), (BATCHED, 61 * mean)):
        shaky = (
            "the sessions disagree by 31 %, more than the 10 % that a stable machine shows"
            if name == "student-hint" and axes is BATCHED
            else None
        )
        for metric, factor in (("mean", 1.0), ("p50", 0.98), ("p90", 1.06), ("p95", 1.11)):
            bounds = interval(0.97 * call * factor, 1.04 * call * factor)
            value, id_ = call * factor, f"latency_{metric}_ns"
            measurements.append(measured(name, id_, value, axes=axes, interval=bounds, n=3200, unstable=shaky))
        measurements.append(measured(name, "throughput_per_s", 1e9 * axes["batch"] / call, axes=axes, unstable=shaky))
        measurements.append(
            measured(name, "latency_p99_ns", 1.4 * call, axes=axes, n=3200)
            if axes is SINGLE
            else missing(name, "latency_p99_ns", "needs 662 samples, has 410", axes=axes)
        )
    return measurements


def _pairs(student: str) -> list[Pair]:
    single, batched, drop = PAIRS[student]
    both = {"teacher": "teacher", "student": student}
    measurements = [pair("latency_ratio", single, both, SINGLE)]
    if batched:
        measurements.append(pair("latency_ratio", batched, both, BATCHED))
    else:
        reason = "student-hint at batch 128 is unstable"
        measurements.append(
            Pair(metric="latency_ratio", axes=BATCHED, value=None, status="invalid", reason=reason, **both)
        )
    return [
        *measurements,
        Pair(metric="size_ratio", value=4_612_000 / 381_000, **both),
        Pair(metric="macs_ratio", value=38_512_128 / 3_120_640, **both),
        Pair(metric="memory_ratio", axes=SINGLE, value=(5.5e7 + 3 * 4_612_000) / (5.5e7 + 3 * 381_000), n=3, **both),
        pair("top1_drop", drop, both, {}, n=360),
    ]


def pair(
    metric: str, numbers: tuple[float, float, float], both: dict[str, str], axes: dict[str, str | int], n: int = 60
) -> Pair:
    value, low, high = numbers
    return Pair(metric=metric, axes=axes, value=value, interval=interval(low, high), n=n, **both)
