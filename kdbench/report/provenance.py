"""Where the numbers come from, as tables: how metrics are defined, on what they were taken, from which files."""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath, PureWindowsPath

from kdbench.report import method
from kdbench.report.cells import Column, Row, Table, Text
from kdbench.results.records import RunRecord


def glossary(record: RunRecord) -> Table:
    """Return the definition of each metric that the record has."""
    cells = [(m.title, Text(m.id, code=True), m.unit, m.formula) for m in method.glossary(record)]
    return _words("How each metric is defined", ("Metric", "Id", "Unit", "Definition"), cells)


def environment(record: RunRecord) -> Table:
    """Return the machine, the software and the protocol."""
    return _words("Environment", ("Item", "Value"), method.environment(record))


def model_files(record: RunRecord) -> Table:
    """Return each model's file and what it may be known by."""
    cells = [
        (
            Text(card.id, code=True),
            PurePosixPath(PureWindowsPath(card.file).as_posix()).name,
            Text(card.sha256, code=True),
            "×".join(str(side) for side in card.input_shape),
            "unknown" if card.opset is None else str(card.opset),
        )
        for card in record.models
    ]
    return _words("Model files", ("Model", "File", "SHA-256", "Input", "Opset"), cells)


def _words(title: str, heads: Sequence[str], cells: Iterable[Sequence[str | Text]]) -> Table:
    """Return a table of nothing but words."""
    rows = [Row(tuple(cell if isinstance(cell, Text) else Text(cell) for cell in row)) for row in cells]
    return Table(title, tuple(Column(head, numeric=False) for head in heads), tuple(rows))
