"""Reports: a record, with its verdicts and samples, as tables, figures and text in several formats.

Imports `results` and `statistics` only: neither torch, onnxruntime nor the models are needed. `workflows`, `testing`
and `cli` import it. Within it, `render` builds on `text` and `styles`, these on `figures`, and those on `tables`.

A report format is one file in `kdbench/report/render/` that registers a `Writer` in `FORMATS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path

from kdbench.files import storage
from kdbench.files.cycles import cycle_collection_paused
from kdbench.registry import Registry
from kdbench.report.figures import Drawing, draw
from kdbench.report.shortening import shortened
from kdbench.report.styles import Layout, lay_out
from kdbench.report.table import Table
from kdbench.report.tables import build_tables
from kdbench.report.tables.devices import device_tables
from kdbench.results.records import RunRecord
from kdbench.results.records.devices import of_host
from kdbench.results.run_folder import RunFolder
from kdbench.results.samples import Samples, read_samples
from kdbench.results.verdicts import Verdict

__all__ = ["FORMATS", "Content", "Writer", "write"]


@dataclass(frozen=True)
class Content:
    """A record with its verdicts and raw samples, if any; tables and figures are built once for all formats.

    `samples` holds the arrays of `samples.npz`; without them there is no figure of the latency distribution. With a
    `style`, there are only its tables and figures.
    """

    record: RunRecord
    verdicts: tuple[Verdict, ...] = ()
    samples: Samples = field(default_factory=dict)
    style: str | None = None

    @cached_property
    def host(self) -> RunRecord:
        """The record without what devices measured, which has tables of its own."""
        return of_host(self.record)

    @property
    def stem(self) -> str:
        """The name of the report's files, without suffix."""
        return "report" if self.style is None else f"report-{self.style}"

    @cached_property
    def layout(self) -> Layout | None:
        """The style's tables and figures; None without a style. Raises InputError if the style does not apply."""
        return None if self.style is None else lay_out(self.host, self.style)

    @cached_property
    def tables(self) -> list[Table]:
        """The tables with content, in reading order; raises InputError as `layout` does.

        Long tables have only some of their rows (`shortening`); `layout` has all rows.
        """
        if self.layout is not None:
            return [shortened(table, self.host) for table in self.layout.tables]
        built = chain(build_tables(self.host), device_tables(self.record))
        return [shortened(table, self.host) for table in built]  # a long table is gone when the next one is built

    @cached_property
    def drawings(self) -> list[Drawing]:
        """The figures with data, in reading order; raises InputError as `layout` does."""
        if self.layout is None:
            return draw(self.record, self.samples)
        return [drawing for figure in self.layout.figures if (drawing := figure(self.host)) is not None]

    @classmethod
    def read(cls, run: str | Path) -> "Content":
        """Read a run: its record, the samples, and the verdicts on this state of the record.

        `run` is a path that `RunFolder.of` accepts. Raises InputError for existing files that cannot be read.
        """
        folder = RunFolder.of(run)
        record = RunRecord.read(folder.record)
        verdicts = [Verdict.read(path) for path in sorted(folder.verdicts.glob("*.json"))]
        hash_ = record.hash() if verdicts else ""
        return cls(record, tuple(v for v in verdicts if v.record_hash == hash_), read_samples(folder.samples))


Writer = Callable[[Content, Path], list[Path]]
"""Writes one rendering of a record into an existing folder and returns the paths of the files, the main one first."""

FORMATS: Registry[Writer] = Registry("report format", package="kdbench.report.render", group="kdbench.report_formats")


@cycle_collection_paused()
def write(content: Content | RunRecord, folder: str | Path, formats: Sequence[str] = ("md",)) -> list[Path]:
    """Render a record, with verdicts and samples, into `folder` in each of `formats`; return the paths of the files.

    Raises InputError for an unknown format, before anything is written, and StorageError.
    """
    writers = [FORMATS.get(name) for name in formats]
    if isinstance(content, RunRecord):
        content = Content(content)
    folder = storage.make_folder(Path(folder))
    return [path for writer in writers for path in writer(content, folder)]
