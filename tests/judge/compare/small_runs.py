"""Small records whose comparison is known, and the row of one model and metric."""

from kdbench.results.cards import ModelCard
from kdbench.results.records import Environment, Interval, Pair, RunRecord, measured

AT = {"provider": "cpu", "threads": 1, "batch": 1}
HOST = {"cpu": "Example CPU", "machine": "x86_64", "cores_physical": 4}


def card(name, sha="0", role="student", **changes):
    values = {"file": f"{name}.onnx", "sha256": sha * 64, "input_shape": (1, 8, 8), "classes": 10, "parameters": 9}
    return ModelCard(id=name, name=name, role=role, **{**values, **changes})


def around(value, half):
    """Return the interval half a factor of `1 + half` to both sides."""
    return Interval(low=value / (1 + half), high=value * (1 + half))


def latency(model, ns, half=0.005, **changes):
    return measured(model, "latency_p50_ns", ns, axes=AT, interval=around(ns, half), n=100, **changes)


def speed_up(ratio, half=0.01, teacher="teacher", student="student", metric="latency_ratio"):
    interval = around(ratio, half)
    return Pair(metric=metric, teacher=teacher, student=student, axes=AT, value=ratio, interval=interval, n=9)


def record(*measurements, models=None, pairs=(), host=HOST, libraries=(("onnxruntime", "1.22.0"),), **protocol):
    return RunRecord(
        kind="run",
        name="tiny",
        created="2025-01-01T00:00:00Z",
        command="kdbench run tiny",
        environment=Environment(host=dict(host), libraries=dict(libraries)),
        models=models or (card("student"),),
        measurements=measurements,
        pairs=pairs,
        protocol=protocol,
    )


def both(base_ns, new_ns, base_ratio, new_ratio, half=0.01):
    """Return two records in which the student was retrained and its teacher is the same file."""
    return [
        record(
            latency("teacher", ns * ratio),
            latency("student", ns),
            models=(card("teacher", "a", "teacher"), card("student", sha)),
            pairs=(speed_up(ratio, half),),
        )
        for ns, ratio, sha in ((base_ns, base_ratio, "1"), (new_ns, new_ratio, "2"))
    ]


def only(comparison, metric="latency_p50_ns", model="student"):
    (row,) = [row for row in comparison.rows if (row.metric, row.new_model) == (metric, model)]
    return row
