"""The curve of a training while it trains: what receives every epoch, and the table `curve.csv`."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from kdbench.files import storage
from kdbench.results.cards import Epoch


class CurveLog(Protocol):
    """Receives the epochs of a training as they end, in the process of rank zero."""

    def begin(self, curve: Sequence[Epoch]) -> None:
        """Continue after the epochs in `curve`, none for a new training.

        An interrupted training repeats its last epochs: a log may hold more of them than `curve`, with the same values.
        """

    def extend(self, curve: Sequence[Epoch]) -> None:
        """Receive the curve with a new last epoch."""


class CurveFile:
    """The curve as a CSV table with a row per epoch; a reader sees whole rows only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def begin(self, curve: Sequence[Epoch]) -> None:
        """Write the epochs so far; without any, remove an earlier training's table."""
        if curve:
            self.extend(curve)
        else:
            self._path.unlink(missing_ok=True)

    def extend(self, curve: Sequence[Epoch]) -> None:
        """Write the epochs so far."""
        # Not flushed to the disk: the checkpoint holds the curve too.
        with storage.writing(self._path, flush=False) as stream:
            stream.write(table(curve).encode())


def table(curve: Sequence[Epoch]) -> str:
    """Return a curve as CSV, with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(curve[0].columns) if curve else (), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.columns for row in curve)
    return text.getvalue()
