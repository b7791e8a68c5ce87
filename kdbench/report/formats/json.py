"""`report.json`: the record itself, for programs; `report-STYLE.json`: the tables of a style."""

from pathlib import Path

from kdbench import storage
from kdbench.report import FORMATS, Content
from kdbench.report.tabular import table_json


@FORMATS.register("json")
def write(content: Content, folder: Path) -> list[Path]:
    """Write `report.json`, or that of the style, and return its path."""
    path = folder / f"{content.stem}.json"
    if content.style is None:
        content.record.write(path)
    else:
        storage.write_json(path, {"style": content.style, "tables": [table_json(table) for table in content.tables]})
    return [path]
