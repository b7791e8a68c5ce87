"""What a device has measured so far, step by step, so that an interrupted measurement continues where it stopped.

WORK/plan.json           which bundle, which settings, which machine and libraries
WORK/STEP.json           the result of a step that is complete
WORK/outputs/N.npy       the outputs (N, values) of model number N
WORK/sessions/N.json     a session's result; N.npz its samples
WORK/sustained.jsonl     a line for each block of sustained calls
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.machine.system_monitor import Conditions
from kdbench.measure.latency.sessions import Session

_FILES = ("outputs", "sessions")


class Store:
    """The folder WORK; `identity` must be the same when an earlier measurement continues."""

    @storage.advising("with --work")
    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder = folder
        for name in _FILES:
            storage.make_folder(folder / name)
        identity = json.loads(json.dumps(identity))  # as it is read: lists in place of tuples
        if self.read("plan") is None:
            self.write("plan", identity)
        for key, value in (self.read("plan") or {}).items():
            if identity.get(key) != value:
                message = f"{folder} holds a measurement with other {key} than now"
                raise InputError(message, "add --fresh to start again, or choose another folder with --work")

    def read(self, step: str) -> Any | None:
        """Return the result of a step, None if it is not complete."""
        file = self.folder / f"{step}.json"
        return storage.read_json(file, "result") if file.exists() else None

    def write(self, step: str, result: Any) -> None:
        """Keep the result of a step."""
        storage.write_json(self.folder / f"{step}.json", result)

    def outputs(self, number: int) -> Path:
        """Return the file of a model's outputs."""
        return self.folder / "outputs" / f"{number}.npy"

    @property
    def sustained(self) -> Path:
        """The file of the blocks of sustained calls."""
        return self.folder / "sustained.jsonl"


def forget(folder: Path, steps: Iterable[str]) -> None:
    """Remove what a store of `steps` holds, and nothing else that may be in its folder."""
    if not (folder / "plan.json").is_file():
        return
    arrays = ("outputs/[0-9]*.npy", "sessions/[0-9]*.json", "sessions/[0-9]*.npz")
    results = (f"{name}.json" for name in (*steps, "device", "sustaining", "sustained", "plan"))
    for pattern in (*arrays, "sustained.jsonl", *results):
        for file in folder.glob(pattern):
            file.unlink()


class SessionStore:
    """The sessions in a store (`kdbench.measure.latency.sessions.Archive`), each with the machine's `conditions`.

    `conditions` is the list that the runner appends to.
    """

    def __init__(self, store: Store, conditions: list[Conditions]) -> None:
        self._folder, self._conditions = store.folder / "sessions", conditions

    def stored(self) -> Iterator[Session]:
        """Yield the sessions in order, up to the first that is not there."""
        for content in self.contents():
            samples = self._folder / f"{content['number']}.npz"
            yield Session(**{**content["session"], "samples": samples if samples.exists() else None})

    def contents(self) -> list[dict[str, Any]]:
        """Return the stored content of each session, without the samples."""
        contents: list[dict[str, Any]] = []
        while (file := self._folder / f"{len(contents)}.json").exists():
            contents.append(storage.read_json(file, "session"))
        return contents

    def add(self, session: Session) -> None:
        """Store a session: the samples first, so that a session whose JSON file exists is complete."""
        if session.samples is not None:
            with np.load(session.samples, allow_pickle=False) as arrays:
                samples = dict(arrays)
            with storage.writing(self._folder / f"{session.number}.npz") as stream:
                np.savez_compressed(stream, **samples)
        content = session._replace(samples=None)._asdict()
        conditions = [asdict(one) for one in self._conditions[-1:]] if session.result is not None else []
        storage.write_json(
            self._folder / f"{session.number}.json",
            {"number": session.number, "session": content, "conditions": conditions},
        )


def read_lines(file: Path) -> list[Any]:
    """Return the JSON values of a file's lines; a last line that is not whole does not count."""
    if not file.exists():
        return []
    values = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            values.append(json.loads(line))
        except ValueError:
            break
    return values
