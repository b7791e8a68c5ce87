"""The records below folders: each with a short name, and what was found that is none."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kdbench.errors import InputError
from kdbench.results.comparisons import REMEASURED
from kdbench.results.records import RunRecord

RECORD = "record.json"


@dataclass(frozen=True)
class LocatedRecord:
    """A record, the name of its run within the folder that was searched, and when it was taken."""

    run: str
    taken: datetime
    record: RunRecord


def find_records(places: list[Path]) -> tuple[list[LocatedRecord], list[str]]:
    """Return every record below `places` (folders, or records themselves), oldest first, and a note on each left out.

    Left out are folders that cannot be read, files that are no record, copies of one that was found, and what `kdbench
    compare --remeasure` measured. Raises
    InputError for a place that is not there, and where there is no record at all.
    """
    found: dict[str, LocatedRecord] = {}
    compared = 0
    notes: list[str] = []
    for place in places:
        if not place.exists():
            raise InputError(f"{place} is not there", "name a folder of runs, such as runs/")
        for path in [place] if place.is_file() else _below(place, notes):
            run = _name(path, place)
            try:
                record = RunRecord.read(path)
                taken = _time(record.created)
            except InputError as error:
                notes.append(f"{run} is left out: {error.message.replace(str(path), path.name)}")
                continue
            key = record.hash()
            if (record.kind, record.name) == ("bench", REMEASURED):
                compared += 1
            elif key in found:
                notes.append(f"{run} is left out: a copy of {found[key].run}")
            else:
                found[key] = LocatedRecord(run, taken, record)
    if compared:
        notes.append(f"measured for a comparison alone, and left out: {compared} record{'s' * (compared > 1)}")
    if not found:
        where = ", ".join(map(str, places))
        raise InputError(
            f"no record below {where}", notes[0] if notes else "records are the record.json files that runs leave"
        )
    return sorted(found.values(), key=lambda each: (each.taken, each.run)), notes


def _below(place: Path, notes: list[str]) -> list[Path]:
    """Return the files called record.json below a folder, and add a note on each folder that cannot be read."""

    def note(error: OSError) -> None:
        folder = Path(error.filename or place)
        name = folder.relative_to(place).as_posix() if folder != place else folder.resolve().name
        notes.append(f"{name} is left out: {error.strerror}")

    return sorted(Path(folder) / RECORD for folder, _, files in os.walk(place, onerror=note) if RECORD in files)


def _name(path: Path, place: Path) -> str:
    if place in {path, path.parent}:
        return path.resolve().parent.name
    return path.parent.relative_to(place).as_posix()


def _time(created: str) -> datetime:
    try:
        taken = datetime.fromisoformat(created)
    except ValueError:
        raise InputError(f"its time {created!r} is none") from None
    return taken if taken.tzinfo else taken.replace(tzinfo=UTC)
