"""The run of a tracker's client for a model, kept in a file so that an interrupted training continues in it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.distill.tracker import TrackedModel
from kdbench.files import storage

_FILE = "runs.json"


@dataclass(frozen=True)
class TrackerRun:
    """A run by the client's `id`; `last` is the last epoch that is logged in it."""

    id: str
    last: int = 0


def known_run(model: TrackedModel) -> TrackerRun | None:
    """Return the run of a model, if it has one for this training."""
    entry = _entries(model.folder).get(model.id, {})
    return TrackerRun(str(entry["run"]), entry.get("last", 0)) if entry.get("key") == model.key else None


def remember_run(model: TrackedModel, run: TrackerRun) -> None:
    """Keep the run of a model in the tracker's folder."""
    entry = {"key": model.key, "run": run.id, "last": run.last}
    folder = storage.make_folder(model.folder)
    storage.write_json(folder / _FILE, {**_entries(folder), model.id: entry})


def _entries(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / _FILE
    content: dict[str, dict[str, Any]] = storage.read_json(path, "list of a tracker's runs") if path.exists() else {}
    return content
