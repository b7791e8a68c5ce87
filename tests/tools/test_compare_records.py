"""Two records agree when they differ only in what the clock decides."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from tools.compare_records import compare, main

from kdbench.results.records import RunRecord

EPOCH = {
    "epoch": 1,
    "train_loss": 1.5,
    "train_top1": 0.5,
    "validation_loss": 2.0,
    "validation_top1": 0.25,
    "learning_rate": 0.1,
    "seconds": 3.0,
}


def card(model: str, role: str) -> dict[str, Any]:
    """Return the JSON of a card of a trained model."""
    training = {
        "objective": "CE", "epochs": 1, "best_epoch": 1, "kept_epoch": 1, "seconds": 3.0, "precision": "32",
        "device": "cpu", "threads": 1, "seed": 0, "unmetered": "no counters", "curve": [EPOCH],
    }  # fmt: skip
    return {
        "id": model, "name": model, "role": role, "file": f"{model}.onnx", "sha256": model[0] * 64,
        "input_shape": [1, 8, 8], "classes": 10, "parameters": 100, "training": training,
    }  # fmt: skip


def measurement(metric: str, unit: str, value: float | None, **others: Any) -> dict[str, Any]:
    """Return the JSON of a measurement of the student."""
    return {"model": "student", "metric": metric, "unit": unit, "value": value, **others}


@pytest.fixture
def base() -> dict[str, Any]:
    """Return a record as it is read from JSON: two models, counted and timed values."""
    axes = {"provider": "cpu", "threads": 1, "batch": 1}
    offline = {"provider": "cpu", "threads": 1, "mode": "offline"}
    record = {
        "schema": 1,
        "kind": "run",
        "name": "tiny",
        "created": "2026-01-01T00:00:00+00:00",
        "command": "kdbench run",
        "protocol": {"threads": [1], "floor_ns": 100.0},
        "environment": {"host": {}, "libraries": {}},
        "models": [card("teacher", "teacher"), card("student", "student")],
        "measurements": [
            measurement("top1", "share", 0.9, n=100),
            measurement("macs", "MACs", 1000.0),
            measurement("latency_p50_ns", "ns", 1000.0, axes=axes, n=50, source="onnxruntime, 8 sessions"),
            measurement(
                "latency_p99_ns", "ns", None, axes=axes, status="unavailable", reason="too few", source="onnxruntime"
            ),
            measurement("throughput_per_s", "1/s", 5.0, axes={**offline, "batch": 1}, n=3),
            measurement("max_throughput_per_s", "1/s", 5.0, axes=offline, n=3),
        ],
        "pairs": [
            {"metric": "top1_drop", "value": 1.0, "teacher": "teacher", "student": "student", "n": 100},
            {"metric": "latency_ratio", "value": 2.0, "teacher": "teacher", "student": "student", "axes": axes, "n": 9},
        ],
        "layers": [{"model": "student", "name": "head", "operator": "Gemm", "macs": 1000, "time_ns": 3.0}],
        "warnings": [{"code": "load", "message": "busy"}, {"code": "quantized", "message": "int8", "model": "student"}],
    }
    return RunRecord.model_validate(record).to_json()


def pick(record: dict[str, Any], metric: str) -> dict[str, Any]:
    """Return the measurement or pair of that metric."""
    (item,) = (item for item in [*record["measurements"], *record["pairs"]] if item["metric"] == metric)
    return item


def change(record: dict[str, Any], metric: str, **values: Any) -> None:
    """Change fields of the one measurement or pair of that metric."""
    pick(record, metric).update(values)


def retime(record: dict[str, Any]) -> None:
    """Change all that may differ between two runs of the same inputs."""
    record["created"] = "2026-02-02T00:00:00+00:00"
    record["protocol"]["floor_ns"] = 200.0
    change(record, "latency_p50_ns", value=3000.0, n=7, status="unstable", reason="sessions differ")
    change(record, "latency_p50_ns", source="onnxruntime, 4 sessions", interval={"low": 1, "high": 5000, "level": 0.95})
    change(record, "latency_p99_ns", value=9000.0, n=700, status="ok", reason=None)
    change(record, "throughput_per_s", axes={"provider": "cpu", "threads": 1, "mode": "offline", "batch": 2})
    change(record, "latency_ratio", value=1.5, n=3)
    record["layers"][0]["time_ns"] = 4.0
    record["warnings"][0]["code"] = "stolen_time"
    record["warnings"][1]["message"] = "worded anew"
    record["models"][0]["training"]["seconds"] = 4.0
    record["models"][0]["training"]["curve"][0]["seconds"] = 4.0
    record["models"][0]["training"]["unmetered"] = "worded anew"


def test_a_record_agrees_with_itself(base):
    assert compare(base, base) == []


def test_what_time_decides_is_no_difference(base):
    new = copy.deepcopy(base)
    retime(new)
    assert new != base
    RunRecord.model_validate(new)
    assert compare(base, new) == []


@pytest.mark.parametrize(
    ("differ", "named"),
    [
        (lambda r: r.update(schema=2), "schema"),
        (lambda r: r.pop("layers"), "layers"),
        (lambda r: r.update(recipe_hash="x"), "recipe_hash"),
        (lambda r: r["protocol"].update(threads=[2]), "protocol.threads"),
        (lambda r: r["protocol"].pop("floor_ns"), "floor_ns"),
        (lambda r: r["models"].reverse(), "models"),
        (lambda r: r["models"][1].update(sha256="0" * 64), "model student.sha256"),
        (lambda r: r["models"][1].update(input_shape=[3, 8, 8]), "model student.input_shape"),
        (lambda r: r["models"][1]["training"].update(best_epoch=2), "best_epoch"),
        (lambda r: r["models"][1]["training"].update(unmetered=None), "has unmetered"),
        (lambda r: r["models"][1]["training"]["curve"][0].update(train_loss=1.6), "epoch 1.train_loss"),
        (lambda r: r["models"][1]["training"].update(curve=[]), "epochs"),
        (lambda r: change(r, "top1", value=0.91), "student top1 ().value"),
        (lambda r: change(r, "top1", n=99), "student top1 ().n"),
        (lambda r: change(r, "macs", value=None, status="unavailable", reason="why"), "student macs ().status"),
        (lambda r: change(r, "latency_p50_ns", unit="s"), "latency_p50_ns (batch=1, provider=cpu, threads=1).unit"),
        (lambda r: change(r, "latency_p50_ns", axes={}), "missing in NEW"),
        (lambda r: change(r, "latency_p50_ns", status="error", value=None), ".status"),
        (lambda r: change(r, "latency_p50_ns", status="unavailable", value=None), ".status"),
        (lambda r: change(r, "latency_p50_ns", source="torch"), "instrument"),
        (lambda r: r["measurements"].append(r["measurements"][0]), "duplicates"),
        (lambda r: change(r, "top1_drop", value=2.0), "teacher -> student top1_drop ().value"),
        (lambda r: r["pairs"].pop(), "latency_ratio"),
        (lambda r: r["layers"][0].update(macs=1001), "layers[0].macs"),
        (lambda r: r["layers"].clear(), "layers: 1 != 0"),
        (lambda r: r["warnings"].pop(), "warning quantized of student: missing in NEW"),
    ],
)
def test_a_difference_is_named(base, differ: Callable[[dict[str, Any]], object], named):
    new = copy.deepcopy(base)
    differ(new)
    differences = compare(base, new)
    assert any(named in line for line in differences), differences


def test_a_server_that_cannot_keep_up_is_no_difference(base):
    change(base, "latency_p50_ns", axes={"provider": "cpu", "mode": "server"})
    new = copy.deepcopy(base)
    change(new, "latency_p50_ns", value=None, status="invalid", reason="too many calls", source=None)
    assert compare(base, new) == []


def test_losses_may_be_compared_with_a_tolerance(base):
    new = copy.deepcopy(base)
    new["models"][0]["training"]["curve"][0]["validation_loss"] = 2.0002
    assert compare(base, new, loss_tolerance=2e-4) == []
    assert len(compare(base, new, loss_tolerance=5e-5)) == 1


def test_exit_codes_and_what_is_printed(base, tmp_path, capsys):
    runs = [tmp_path / name for name in ("base", "same", "other")]
    for run in runs:
        run.mkdir()
    other = copy.deepcopy(base)
    change(other, "top1", value=0.8)
    for run, record in zip(runs, (base, base, other), strict=True):
        (run / "record.json").write_text(json.dumps(record))
    assert main([str(runs[0]), str(runs[1] / "record.json")]) == 0
    assert capsys.readouterr().out == "the records agree\n"
    assert main([str(runs[0]), str(runs[2])]) == 1
    assert capsys.readouterr().out == "measurement student top1 ().value: 0.9 != 0.8\n"
    assert main([str(runs[0]), str(tmp_path / "nothing")]) == 3
    assert "error:" in capsys.readouterr().err
