"""A record made by hand: every kind of finding a report must show, with numbers that can be checked by eye."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from kdbench import report
from kdbench.report.figures import Drawing, draw
from kdbench.results.cards import Epoch, ModelCard, Training
from kdbench.results.records import Diagnostic, Environment, Interval, Measurement, Pair, RunRecord, measured, missing
from kdbench.results.samples import Samples

SINGLE = {"provider": "cpu", "threads": 1, "batch": 1}
BATCHED = {"provider": "cpu", "threads": 1, "batch": 128}
NO_COUNTER = "no energy counter could be read: /sys/class/powercap is empty and no NVIDIA driver is loaded"
COUNTER_HINT = "run on the bare machine as root, or with --estimate-energy for an estimate"

# name: role, seed, top1, latency_mean_ns, size_bytes, macs, parameters, training_s
_MODELS: dict[str, tuple[str, int, float, float, int, int, int, float]] = {
    "teacher": ("teacher", 0, 0.9833, 1_210_000.0, 4_612_000, 38_512_128, 1_150_000, 41.3),
    "student-alone": ("student", 0, 0.9611, 228_000.0, 381_000, 3_120_640, 93_000, 9.7),
    "student-kd": ("student", 0, 0.9778, 226_000.0, 381_000, 3_120_640, 93_000, 10.4),
    "student-hint": ("student", 0, 0.9750, 231_000.0, 381_000, 3_120_640, 93_000, 14.9),
}
# student: speed-up at batch 1, batched, drop in points
_PAIRS = {
    "student-alone": ((5.31, 5.12, 5.50), (7.9, 7.6, 8.2), (2.22, 0.6, 3.9)),
    "student-kd": ((5.35, 5.15, 5.54), (7.9, 7.5, 8.2), (0.55, -0.6, 1.7)),
    "student-hint": ((5.24, 5.02, 5.45), None, (0.83, -0.3, 1.9)),
}


def _interval(low: float, high: float) -> Interval:
    return Interval(low=low, high=high)


def _card(name: str, /, **changes: Any) -> ModelCard:
    role, seed, top1, *_, parameters, seconds = _MODELS[name]
    objective = {"student-kd": "0.1·CE + 0.9·KD(T=4)", "student-hint": "1·CE + 100·MSE(hint)"}.get(name, "CE")
    values: dict[str, Any] = {
        "id": name,
        "name": name,
        "role": role,
        "parents": () if role == "teacher" else ("teacher",),
        "architecture": "convnet",
        "seed": seed,
        "file": f"models/{name}.onnx",
        "sha256": f"{list(_MODELS).index(name):x}" * 64,
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
    return ModelCard(**{**values, **changes})


def _measurements(name: str) -> list[Measurement]:
    _, _, top1, mean, size, macs, parameters, seconds = _MODELS[name]
    measurements = [
        measured(
            name, "top1", top1, interval=_interval(top1 - 0.016, min(top1 + 0.013, 1.0)), n=360, source="test set"
        ),
        measured(name, "top5", 1.0, interval=_interval(0.9898, 1.0), n=360, source="test set"),
        measured(name, "loss", 2 * (1 - top1), n=360),
        *_latencies(name, mean),
        measured(name, "macs", macs, source="onnx graph"),
        measured(name, "parameters", parameters),
        measured(name, "weight_bytes", 4 * parameters),
        measured(name, "size_bytes", size),
        measured(name, "load_ns", 9.4e6, interval=_interval(9.1e6, 12.0e6), n=6),
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
            measured(name, "agreement", top1 + 0.005, interval=_interval(top1 - 0.01, top1 + 0.02), n=360),
            measured(name, "predictive_kl", math.nan if name == "student-alone" else 0.31 - 0.25 * top1, n=360),
        ]
    return measurements


def _record(**changes: Any) -> RunRecord:
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
        "models": tuple(_card(name) for name in _MODELS),
        "measurements": tuple(m for name in _MODELS for m in _measurements(name)),
        "pairs": tuple(pair for student in _PAIRS for pair in _pairs(student)),
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


@pytest.fixture(scope="session")
def _drawings() -> dict[str, list[Drawing]]:
    return {}


@pytest.fixture(autouse=True)
def _drawn_once(monkeypatch: pytest.MonkeyPatch, _drawings: dict[str, list[Drawing]]) -> None:
    """Draw the figures of a record without samples once, not for every page, unless a test asks for `drawn_anew`."""
    draw = report.draw

    def drawn(record: RunRecord, samples: Samples) -> list[Drawing]:
        if samples:
            return draw(record, samples)
        key = record.model_dump_json()
        if key not in _drawings:
            _drawings[key] = draw(record, samples)
        return list(_drawings[key])

    monkeypatch.setattr(report, "draw", drawn)


@pytest.fixture
def drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the figures every time: for tests that compare two drawings."""
    monkeypatch.setattr(report, "draw", draw)


@pytest.fixture
def make_record() -> Callable[..., RunRecord]:
    """Return the maker of the sample record; its keywords replace fields of the record."""
    return _record


@pytest.fixture
def make_card() -> Callable[..., ModelCard]:
    """Return the maker of the sample's model cards; its keywords replace fields of the card."""
    return _card


@pytest.fixture
def sample() -> RunRecord:
    return _record()


@pytest.fixture
def seeded() -> RunRecord:
    """Return a run of two seeds: accuracies differ between the seeds, all else is measured on the first."""
    base = _record()
    ids = {name: f"{name}-s1" for name in _MODELS}
    again = [_card(name, id=ids[name], seed=1) for name in _MODELS]
    shifted = [
        measured(ids[m.model], m.metric, m.value - 0.01, interval=m.interval, n=m.n)
        for m in base.measurements
        if m.metric in {"top1", "agreement"} and m.value is not None
    ]
    drops = [
        pair.model_copy(update={"teacher": ids[pair.teacher], "student": ids[pair.student], "value": pair.value + 0.5})
        for pair in base.pairs
        if pair.metric == "top1_drop" and pair.value is not None
    ]
    return _record(
        models=(*base.models, *again), measurements=(*base.measurements, *shifted), pairs=(*base.pairs, *drops)
    )


@pytest.fixture
def swept() -> RunRecord:
    """Return the digits run with throughput offline: the teacher's is level from batch 4 on, a budget ended early."""
    base = _record()
    at: dict[str, str | int] = {"provider": "cpu", "threads": 1, "mode": "offline"}
    rates = {"teacher": (900.0, 1200.0, 1600.0, 1590.0, 1580.0), "student-kd": (5000.0, 9000.0, 14000.0)}
    measurements = []
    for name, by_batch in rates.items():
        for power, rate in enumerate(by_batch):
            bounds = _interval(0.97 * rate, 1.03 * rate)
            axes = {**at, "batch": 2**power}
            measurements.append(measured(name, "throughput_per_s", rate, axes=axes, interval=bounds, n=500))
        best = max(by_batch)
        measurements.append(
            measured(name, "max_throughput_per_s", best, axes=at, interval=_interval(0.97 * best, 1.03 * best))
        )
    measurements.append(missing("student-hint", "max_throughput_per_s", "killed by signal 9", status="error", axes=at))
    both = {"teacher": "teacher", "student": "student-kd"}
    short = Diagnostic(
        code="offline_shortened",
        message="throughput offline with 1 thread may be larger: the budget was too short for batch 8",
        remedy="give it a longer --budget",
        model="student-kd",
    )
    return _record(
        measurements=(*base.measurements, *measurements),
        pairs=(*base.pairs, _pair("throughput_ratio", (8.75, 8.5, 9.0), both, at, n=5)),
        warnings=(*base.warnings, short),
    )


REFUSED = "the ONNX file strays from the network by 0.31 (tolerance 0.0001)"


@pytest.fixture
def refused() -> RunRecord:
    """Return the digits run with a student whose file the parity gate refused: nothing of it was measured."""
    base, name = _record(), "student-hint"

    def without(metric: str, axes: dict[str, str | int]) -> Measurement:
        status = "invalid" if metric == "parity_max_abs" else "unavailable"
        return missing(name, metric, REFUSED, status=status, axes=axes)

    def without_number(pair: Pair) -> Pair:
        nothing = {"value": None, "interval": None, "n": None, "status": "unavailable", "reason": REFUSED}
        return pair.model_copy(update=nothing)

    return _record(
        measurements=[
            without(m.metric, m.axes) if m.model == name and m.metric != "training_s" else m for m in base.measurements
        ],
        pairs=[without_number(pair) if pair.student == name else pair for pair in base.pairs],
        warnings=[Diagnostic(code="parity_failed", message=f"not measured: {REFUSED}", model=name)],
    )


# J of one inference, gross and net, at batch 1 and batched; J of the training; the ratios with their interval
_ENERGIES = {
    "teacher": ((0.0721, 0.0503), (0.0345, 0.0291), 2150.0, None),
    "student-alone": ((0.0141, 0.00990), (0.00452, 0.00370), 480.0, ((5.11, 4.97, 5.26), (7.63, 7.5, 7.77))),
    "student-kd": ((0.01402, 0.00984), (0.00449, 0.00368), 512.0, ((5.14, 5.0, 5.29), (7.68, 7.5, 7.87))),
}
_CARBON = {"country": "DEU", "name": "Germany", "g_per_kwh": 380.1, "source": "codecarbon 3.3.2"}
_WINDOWS: dict[str, Any] = {"mode": "full", "windows": 5, "window_s": 10.0}
_RAPL = {
    "name": "rapl",
    "scope": "cpu.package",
    "detail": "1 package",
    "evidence": "measured",
    "update_period_ms": 1.0,
    "idle_w": [20.1, 20.2, 20.2, 20.3, 20.2, 20.3],
}


def _energies(
    source: str, batches: tuple[int, ...] = (1, 128), times: float = 1.0, co2: bool = False, **axes: str
) -> list[Measurement]:
    """Return the energies of three models at `source`, those of the sample `times` as large; estimates by codecarbon.

    Net energy of student-kd at batch 1 is not resolved, and its energy at batch 128 unstable.
    """
    estimated = source.startswith("codecarbon")
    measurements = []

    def add(name: str, metric: str, joules: float, where: dict[str, Any], unstable: str | None = None) -> None:
        of_energy = metric.endswith("_j")
        value = joules if of_energy else joules / 3.6e6 * _CARBON["g_per_kwh"]
        bounds = None if estimated or metric.startswith("training") else _interval(0.97 * value, 1.03 * value)
        evidence = "estimated" if estimated else "measured" if of_energy else "modelled"
        more = {"interval": bounds, "source": source, "evidence": evidence, "unstable": unstable}
        measurements.append(measured(name, metric, value, axes=where, **more))

    for name, (*by_batch, training, _) in _ENERGIES.items():
        for batch, (gross, net) in zip((1, 128), by_batch, strict=True):
            if batch not in batches:
                continue
            where = {**SINGLE, "batch": batch, **axes}
            last = name == "student-kd"
            shaky = "windows differ by 9.2 %" if last and batch == 128 else None
            add(name, "energy_j", times * gross, where, shaky)
            if last and batch == 1:
                why = {"status": "below_resolution", "source": source}
                measurements.append(missing(name, "energy_net_j", "within its uncertainty of 0", axes=where, **why))
            else:
                add(name, "energy_net_j", times * net, where, shaky)
            add(name, "energy_run_j", times * gross * batch, where, shaky)
            if co2:
                add(name, "co2_g", times * gross, where, shaky)
        add(name, "training_j", times * training, dict(axes))
        if co2:
            add(name, "training_co2_g", times * training, dict(axes))
    return measurements


def _with_energies(measurements: list[Measurement], protocol: dict[str, Any]) -> RunRecord:
    """Return the digits run with those energies, the pairs that belong to them, and student-hint without any."""
    base = _record()
    known = [m for m in base.measurements if not m.metric.startswith("energy_")]
    where = [
        {**m.axes} for m in measurements if m.model == "teacher" and m.metric == "energy_j" and "scope" not in m.axes
    ]
    failed = [
        missing("student-hint", metric, "killed by signal 9", status="error", axes=axes, hint="give it more memory")
        for axes in where
        for metric in ("energy_j", "energy_net_j", "energy_run_j")
    ]
    estimated = measurements[0].evidence == "estimated"
    pairs = []
    for name, (*_, ratios) in _ENERGIES.items():
        for axes, numbers in zip(where, ratios or (), strict=False):
            pair = _pair("energy_ratio", numbers, {"teacher": "teacher", "student": name}, axes, n=5)
            changes = {"evidence": "estimated", "interval": None} if estimated else {}
            pairs.append(pair.model_copy(update=changes))
    return _record(
        measurements=(*known, *measurements, *failed),
        pairs=(*base.pairs, *pairs),
        protocol={**base.protocol, **protocol},
    )


@pytest.fixture
def metered() -> RunRecord:
    """Return the digits run with energies by RAPL and their CO₂e: one net not resolved, one unstable, one failed."""
    measurements = _energies("rapl, cpu.package", co2=True)
    return _with_energies(measurements, {"energy_pass": {**_WINDOWS, "sources": [_RAPL]}, "carbon": _CARBON})


@pytest.fixture
def estimated() -> RunRecord:
    """Return the digits run with estimates of energy, at batch 1 alone, in quick windows."""
    detail = "3.3.2, share of the machine's CPU time × 65 W TDP"
    source = {"name": "codecarbon", "scope": "cpu.estimate", "detail": detail, "evidence": "estimated"}
    quick = {"mode": "quick", "windows": 5, "window_s": 0.5, "resolution": 0.025, "sources": [source]}
    return _with_energies(_energies("codecarbon, cpu.estimate", batches=(1,)), {"energy_pass": quick})


@pytest.fixture
def metered_gpu() -> RunRecord:
    """Return the digits run with the energy of a GPU's board, of the CPU beside it, and of both together."""
    together = "gpu0.board + cpu.package"
    board = {
        **_RAPL,
        "name": "nvml",
        "scope": "gpu0.board",
        "detail": "total energy counter",
        "update_period_ms": 102.4,
    }
    measurements = [
        *_energies("nvml, gpu0.board", times=3.0),
        *_energies("rapl, cpu.package", scope="cpu.package"),
        *_energies("nvml, gpu0.board; rapl, cpu.package", times=4.0, scope=together),
    ]
    return _with_energies(measurements, {"energy_pass": {**_WINDOWS, "sources": [board, _RAPL]}})


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
            bounds = _interval(0.97 * call * factor, 1.04 * call * factor)
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
    single, batched, drop = _PAIRS[student]
    both = {"teacher": "teacher", "student": student}
    measurements = [_pair("latency_ratio", single, both, SINGLE)]
    if batched:
        measurements.append(_pair("latency_ratio", batched, both, BATCHED))
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
        _pair("top1_drop", drop, both, {}, n=360),
    ]


def _pair(
    metric: str, numbers: tuple[float, float, float], both: dict[str, str], axes: dict[str, str | int], n: int = 60
) -> Pair:
    value, low, high = numbers
    return Pair(metric=metric, axes=axes, value=value, interval=_interval(low, high), n=n, **both)
