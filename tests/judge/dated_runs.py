"""Records of daily runs with one latency each."""

from datetime import UTC, datetime, timedelta

from kdbench.results.cards import ModelCard
from kdbench.results.records import Environment, Interval, Measurement, Pair, RunRecord, measured

AXES = {"provider": "cpu", "threads": 1, "batch": 1}
START = datetime(2026, 1, 1, tzinfo=UTC)


def card(name: str, role: str = "student") -> ModelCard:
    return ModelCard(
        id=name,
        name=name,
        role=role,
        file=f"{name}.onnx",
        sha256="0" * 64,
        input_shape=(1, 8, 8),
        classes=10,
        parameters=10,
    )


def latency(value: float, model: str = "small", **axes: str | int) -> Measurement:
    bounds = Interval(low=0.99 * value, high=1.01 * value)
    return measured(model, "latency_p50_ns", value, axes={**AXES, **axes}, interval=bounds)


def record(day: int, *measurements: Measurement, pairs: tuple[Pair, ...] = (), **facts: object) -> RunRecord:
    host = {"cpu": facts.get("cpu", "EPYC"), "cores_usable": 4, "virtualization": facts.get("virtualization")}
    return RunRecord(
        kind="bench",
        name="ci",
        created=(START + timedelta(days=day)).isoformat(),
        command="kdbench bench",
        environment=Environment(
            host=host,
            libraries={"onnxruntime": facts.get("runtime", "1.30")},
            git_commit=f"{day:040x}",
            git_dirty=False,
        ),
        models=(card("big", "teacher"), card("small")),
        measurements=measurements,
        pairs=pairs,
    )
