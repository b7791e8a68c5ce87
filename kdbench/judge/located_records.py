"""Find the records below folders: each with a short name, and a note on each file that is left out."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.files.cycles import cycle_collection_paused
from kdbench.files.nearby import expected_at
from kdbench.judge.excerpt_cache import ExcerptCache, excerpt_cache
from kdbench.judge.excerpts import MAIN, Excerpt, Finding
from kdbench.results.comparisons import REMEASURED
from kdbench.results.records import RunRecord
from kdbench.results.run_folder import PART, RECORD


@dataclass(frozen=True)
class LocatedRecord:
    """A record's excerpt and file, the name of its run within the folder that was searched, and its time."""

    run: str
    created: datetime
    record: Excerpt
    file: Path | None = None

    def findings(self, metric: str) -> list[Finding]:
        """Return the record's measurements or pairs of a metric, from its file where the excerpt has no valid ones."""
        try:
            if self.file is None or self.record.has([metric]):
                return self.record.findings(metric)
        except ValidationError:
            if self.file is None:
                raise
        return Excerpt.read(self.file, [metric]).findings(metric)


def locate_records(paths: list[Path], metrics: Collection[str] = MAIN) -> tuple[list[LocatedRecord], list[str]]:
    """Return every record below `paths` (folders, records or reports), oldest first, and a note on each one left out.

    `metrics` are those that will be read; the results of other metrics are read from each record's file on demand.
    Left out are folders that cannot be read, files that are not records, copies, and the records of `kdbench compare
    --remeasure`. Raises InputError for a path that does not exist, and where there is no record.
    """
    with excerpt_cache() as cache, cycle_collection_paused():
        return _locate(paths, cache, {*MAIN, *metrics})


def _locate(paths: list[Path], cache: ExcerptCache, metrics: Collection[str]) -> tuple[list[LocatedRecord], list[str]]:
    located: list[LocatedRecord] = []
    # Only records of one group can be copies of each other: comparing all takes long.
    by_identity: dict[tuple[str, ...], list[LocatedRecord]] = {}
    remeasured = 0
    notes: list[str] = []
    for path in paths:
        if not path.exists():
            hint = expected_at(path, "name a folder of runs, such as runs/", Path.is_dir)
            raise InputError(f"{path} does not exist", hint)
        for file in [path] if path.is_file() else _records_below(path, notes):
            run = _run_name(file, path)
            try:
                record = _excerpt(file, cache, metrics)
            except InputError as error:
                notes.append(f"{run} is left out: {error.message.replace(str(file), file.name)}")
                continue
            try:
                created = datetime.fromisoformat(record.created)
            except ValueError:
                notes.append(f"{run} is left out: its time {record.created!r} is not valid")
                continue
            similar = by_identity.setdefault((record.kind, record.name, record.created, record.command), [])
            if (record.kind, record.name) == ("bench", REMEASURED):
                remeasured += 1
            elif original := next((other for other in similar if _is_copy(file, record, other)), None):
                notes.append(f"{run} is left out: a copy of {original.run}")
            else:
                created = created if created.tzinfo else created.replace(tzinfo=UTC)
                located.append(LocatedRecord(run, created, record, file))
                similar.append(located[-1])
    if remeasured:
        notes.append(f"{remeasured} record{'s' * (remeasured > 1)} of a comparison left out")
    if not located:
        kinds = "records are the record.json files in the folders of runs; a sweep has one once it is finished"
        hint = notes[0] if notes else kinds
        raise InputError(f"no record below {', '.join(map(str, paths))}", hint)
    return sorted(located, key=lambda item: (item.created, item.run)), notes


def _excerpt(file: Path, cache: ExcerptCache, metrics: Collection[str]) -> Excerpt:
    """Return the excerpt of a record, from the cache if it has all `metrics`; raises InputError."""
    try:
        stat = file.stat()
    except OSError:
        return Excerpt.read(file, metrics)
    known = cache.get(file, stat)
    if known is not None and known.has(metrics):
        return known
    excerpt = Excerpt.read(file, {*metrics, *(known.results if known else ())})
    cache.put(file, stat, excerpt)
    return excerpt


def _is_copy(file: Path, excerpt: Excerpt, original: LocatedRecord) -> bool:
    """Return whether the record `file` equals `original`; reads both files completely."""
    if original.record.metrics != excerpt.metrics or original.file is None:
        return False
    try:
        if original.file.read_bytes() == file.read_bytes():
            return True
        return RunRecord.read(original.file).hash() == RunRecord.read(file).hash()
    except (OSError, InputError):  # reading an excerpt does not check the whole record
        return False


def _records_below(root: Path, notes: list[str]) -> list[Path]:
    """Return the files called record.json below a folder, and add a note on each folder that cannot be read.

    Those of a sweep's parts are left out, unless the folder itself is one.
    """

    def note(error: OSError) -> None:
        folder = Path(error.filename or root)
        name = folder.relative_to(root).as_posix() if folder != root else storage.followed(folder).name
        notes.append(f"{name} is left out: {error.strerror}")

    folders = ((Path(folder), files) for folder, _, files in os.walk(root, onerror=note) if RECORD in files)
    return sorted(folder / RECORD for folder, files in folders if PART not in files or folder == root)


def _run_name(file: Path, root: Path) -> str:
    if root in {file, file.parent}:
        return storage.followed(file.parent).name
    return file.parent.relative_to(root).as_posix()
