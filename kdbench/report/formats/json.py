"""`report.json`: the record itself, for programs."""

from pathlib import Path

from kdbench.report import FORMATS, Content


@FORMATS.register("json")
def write(content: Content, folder: Path) -> list[Path]:
    """Write `report.json` and return its path."""
    path = folder / "report.json"
    content.record.write(path)
    return [path]
