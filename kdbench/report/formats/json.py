"""`report.json`: the record itself, for programs."""

from pathlib import Path

from kdbench.records import RunRecord
from kdbench.report import FORMATS


@FORMATS.register("json")
def write(record: RunRecord, folder: Path) -> list[Path]:
    """Write `report.json` and return its path."""
    path = folder / "report.json"
    record.write(path)
    return [path]
