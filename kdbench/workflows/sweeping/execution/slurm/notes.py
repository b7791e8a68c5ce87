"""The notes of jobs in a run's folder, by which a driver finds the jobs of an earlier one."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kdbench.errors import KdbenchError
from kdbench.files import storage

FOLDER, _NOTE = "slurm", "job.json"


@dataclass(frozen=True)
class Note:
    """The `job` that runs a `task`, the hash of the task's `message`, and the `folder` of its files."""

    task: str
    job: str
    message: str
    folder: Path


class Notes:
    """The notes in the folder of a run, in a folder per task; notes that exist at the start are an earlier driver's."""

    def __init__(self, folder: Path) -> None:
        self._root = storage.make_folder(folder / FOLDER)
        self._earlier: dict[str, Note] = {}
        for path in sorted(self._root.iterdir()):
            note = _read(path)
            if note is None:
                shutil.rmtree(path, ignore_errors=True)
            else:
                self._earlier[note.task] = note

    def claim(self, task: str) -> Note | None:
        """Return an earlier driver's note of a task, once."""
        return self._earlier.pop(task, None)

    def unclaimed(self) -> Iterable[Note]:
        """Return the earlier notes that were not claimed."""
        notes, self._earlier = list(self._earlier.values()), {}
        return notes

    def new(self, task: str) -> Path:
        """Return a new, empty folder for a task's job."""
        self.remove(task)
        folder = self._folder(task)
        folder.mkdir()
        return folder

    def write(self, note: Note) -> None:
        """Write a note to its folder."""
        content = {"task": note.task, "job": note.job, "message": note.message}
        storage.write_json(note.folder / _NOTE, content)

    def remove(self, task: str) -> None:
        """Remove all files of a task's job."""
        shutil.rmtree(self._folder(task), ignore_errors=True)

    def _folder(self, task: str) -> Path:
        return self._root / storage.content_hash(task)[:24]


def _read(folder: Path) -> Note | None:
    try:
        content = storage.read_json(folder / _NOTE, "note of a job")
        return Note(str(content["task"]), str(content["job"]), str(content["message"]), folder)
    except (KdbenchError, KeyError, TypeError):
        return None
