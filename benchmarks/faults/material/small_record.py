"""A record of two models in which every text can be replaced."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SOURCE = Path(__file__).parents[3] / "tests" / "records" / "digits.json"

Record = dict[str, Any]


def small_record() -> Record:
    """Return the JSON of a record of a teacher and its student."""
    record: Record = json.loads(_SOURCE.read_text(encoding="utf-8"))
    teacher, student = record["models"][0]["id"], record["models"][1]["id"]
    kept = {teacher, student}
    record["models"] = record["models"][:2]
    for card in record["models"]:
        card["training"] = None
    record["measurements"] = [m for m in record["measurements"] if m["model"] in kept]
    record["pairs"] = [p for p in record["pairs"] if p["student"] == student and p["teacher"] == teacher]
    record["layers"] = [layer for layer in record.get("layers", []) if layer["model"] in kept]
    record["warnings"] = [{"code": "noisy", "message": "a message", "remedy": "a remedy", "model": student}]
    return record


def _warning(record: Record, text: str) -> None:
    record["warnings"][0] |= {"code": text, "message": text, "remedy": text}


def _class(record: Record, text: str) -> None:
    record["measurements"] += [
        {"metric": "class_top1", "n": 10, "model": card["id"], "axes": {"class": name}, "value": share, "unit": "share"}
        for card in record["models"]
        for name, share in ((text, 0.5), ("other", 0.25))
    ]


def _reason(record: Record, text: str) -> None:
    for entry in record["measurements"]:
        if entry["metric"] == "peak_memory_bytes":
            entry |= {"value": None, "status": "unavailable", "reason": text or "-", "hint": text, "interval": None}


def _provider(record: Record, text: str) -> None:
    for entry in (*record["measurements"], *record["pairs"]):
        if "provider" in entry.get("axes", {}):
            entry["axes"]["provider"] = text


def _layer(record: Record, text: str) -> None:
    layer = {"model": record["models"][1]["id"], "name": text, "operator": text, "macs": 10, "time_ns": 5.0}
    record["layers"] = [{**layer, "time_share": share} for share in (0.75, 0.25)]


def _recipe(record: Record, text: str) -> None:
    record["recipe"] = {"name": text, "data": {"name": text}, text: text, "teacher": [{"name": text}]}


def _model(record: Record, text: str) -> None:
    student = json.dumps(record["models"][1]["id"])
    record |= json.loads(json.dumps(record).replace(student, json.dumps(text)))


PLACES: dict[str, Callable[[Record, str], None]] = {
    "title": lambda record, text: record.update(title=text),
    "run": lambda record, text: record.update(name=text),
    "command": lambda record, text: record.update(command=f"kdbench run {text}"),
    "warning": _warning,
    "recipe": _recipe,
    "class": _class,
    "reason": _reason,
    "provider": _provider,
    "layer": _layer,
    "model": _model,
}
WORDS = tuple(place for place in PLACES if place != "model")
"""The places whose texts name no file."""


def with_text(text: str, *places: str) -> Record:
    """Return the record with `text` at these places."""
    record = small_record()
    for place in places:
        PLACES[place](record, text)
    return record
