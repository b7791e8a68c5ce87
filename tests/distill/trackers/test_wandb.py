"""What Weights & Biases' own messages say in the files of offline runs."""

import json
import struct

import pytest
from tracked import track_training

wandb = pytest.importorskip("wandb")


def messages(path):
    """Yield the records of an offline run: LevelDB's log format after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in {1, 4}:  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def runs_of(folder):
    return [list(messages(path)) for path in sorted((folder / "wandb").glob("offline-run-*/*.wandb"))]


def named(items):
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def test_an_interrupted_training_goes_on_in_the_same_run_offline(tracked, curve_of, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    model, curve = tracked(), curve_of(3)
    monkeypatch.setenv("WANDB_CACHE_DIR", str(model.folder.parent / "cache"))
    track_training("wandb", model, curve[:2], complete=False)
    track_training("wandb", model, curve, start=1, results={"top1": 0.75, "latency_p50_ns/threads-1": 1500.0})
    first, second = runs_of(model.folder)
    started = [next(m.run for m in run if m.WhichOneof("record_type") == "run") for run in (first, second)]
    assert started[0].run_id == started[1].run_id
    assert (started[0].project, started[0].display_name) == ("study", "m")
    assert named(started[0].config.update).items() >= model.parameters.items()
    rows = [[named(m.history.item) for m in run if m.WhichOneof("record_type") == "history"] for run in (first, second)]
    assert [[row["_step"] for row in of_run] for of_run in rows] == [[1, 2], [3]]
    assert rows[1][0]["train_loss"] == pytest.approx(curve[2].train_loss)
    summary = {}
    for m in second:
        if m.WhichOneof("record_type") == "summary":
            summary |= named(m.summary.update)
    assert summary["top1"] == 0.75
    assert summary["latency_p50_ns/threads-1"] == 1500.0
