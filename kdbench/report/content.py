"""What a report is rendered from: the record, and what lies beside it."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from kdbench.report import rows
from kdbench.report.cells import Table
from kdbench.report.figures import Drawing, draw
from kdbench.report.styles import Layout, lay_out
from kdbench.results.records import RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.results.samples import Samples, read_samples
from kdbench.results.verdicts import Verdict


@dataclass(frozen=True)
class Content:
    """A record with its verdicts and raw samples, if there are any; tables and figures are made once for all formats.

    `samples` holds arrays as `samples.npz` does; without them there are no distributions to draw. With a `style` the
    tables and figures are those of a study's report, and nothing else.
    """

    record: RunRecord
    verdicts: tuple[Verdict, ...] = ()
    samples: Samples = field(default_factory=dict)
    style: str | None = None

    @property
    def stem(self) -> str:
        """What the files are called, before their suffix."""
        return "report" if self.style is None else f"report-{self.style}"

    @cached_property
    def layout(self) -> Layout | None:
        """The style's tables and figures; None for the whole report. Raises InputError where it does not apply."""
        return None if self.style is None else lay_out(self.record, self.style)

    @cached_property
    def tables(self) -> list[Table]:
        """The tables that have something to show, in reading order; raises InputError as `layout` does."""
        return rows.tables(self.record) if self.layout is None else list(self.layout.tables)

    @cached_property
    def drawings(self) -> list[Drawing]:
        """The figures that there are numbers for, in reading order; raises InputError as `layout` does."""
        if self.layout is None:
            return draw(self.record, self.samples)
        return [drawing for figure in self.layout.figures if (drawing := figure(self.record)) is not None]

    @classmethod
    def read(cls, run: Path) -> "Content":
        """Read a run: its record, the samples, and the verdicts on this state of the record.

        `run` is a path that `RunFolder.of` accepts. Raises InputError for files that are there and cannot be read.
        """
        folder = RunFolder.of(run)
        record = RunRecord.read(folder.record)
        verdicts = [Verdict.read(path) for path in sorted(folder.verdicts.glob("*.json"))]
        hash_ = record.hash() if verdicts else ""
        return cls(record, tuple(v for v in verdicts if v.record_hash == hash_), read_samples(folder.samples))
