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
from kdbench.results.samples import UNREADABLE, Archive, Samples, unreadable
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
        """Read a run's folder, or a record alone: the record, the samples, and the verdicts on this very record.

        Raises InputError for files that are there and cannot be read.
        """
        folder = run if run.is_dir() else run.parent
        record = RunRecord.read(run)
        verdicts = [Verdict.read(path) for path in sorted(RunFolder(folder).verdicts.glob("*.json"))]
        own = record.hash() if verdicts else ""
        return cls(record, tuple(v for v in verdicts if v.record_hash == own), read_samples(folder))


def read_samples(folder: Path) -> Samples:
    """Return the raw samples of a run's folder, read one by one as they are asked for; nothing where there are none.

    Raises InputError for a file that is no archive of arrays, and later for one of them that is damaged.
    """
    import numpy as np

    path = folder / "samples.npz"
    if not path.exists():
        return {}
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            raise ValueError("it is a single array")  # noqa: TRY004 - no archive, as what numpy cannot read
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    return Archive(path, found)
