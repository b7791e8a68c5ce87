"""The page with the counts of the campaign: a row for each block and seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.trial import KINDS, OTHER

_TEXT = """# Fault injection

Every trial injects one fault that users, disks or other processes cause: it kills processes at random moments, fills
disks, damages files, claims folders twice, or passes invalid names, numbers and files. A row is one block of trials
with one seed. Its columns count trials that ended with exit code 4, did not end, left files or processes behind,
measured while another process held the lock, interpreted a name as markup or code, or failed otherwise. The goal is 0
everywhere.

- `names`: names in a record, in all pages and formats. `doors`: names of files, folders, models, labels, recipes, and
  texts in variables of the environment, metadata, other programs' files, options, axes and verdicts.
- `processes`: signals at any stage, killed owners and workers, full and read-only disks, a folder claimed twice, eight
  benches at once.
- `endings`: every command that is ended by a signal at a random moment, whose disk fills up, or that runs beside
  another one in the same folder; then the same command again.
- `input`: damaged and impossible records, recipes, models, weights and data. `options`: every numeric option and key.
- `resume`: damaged files in the folder of a run that is resumed. `files`: any file that a command reads, damaged or
  replaced by a pipe, a device, a link, a folder, or an archive that unpacks to 3 GB.
- `devices`: damaged bundles that a device checks before it measures, and damaged results that a host merges.
- `sweeps`: sweeps that are killed again and again until they are complete. `clusters`: the same on a local Ray cluster
  of a head and two workers: a process that trains or measures, a worker node, or the driver is killed.

The time limit of a trial is 60 s, 120 s for `endings` and where it waits for a silent process, 240 s for `files` that
train or measure, and 300 s for `processes`. Time in which all processes were stopped does not count; while more threads
are ready to run than there are cores, time counts in proportion.

    python -m benchmarks.faults BLOCK --seed N --page reports/faults/README.md
"""
_COLUMNS = ("block", "seed", "trials", *KINDS, OTHER, "minutes")


@dataclass(frozen=True)
class Row:
    """The counts of one block with one seed: of its trials, and of those that found something, by kind."""

    block: str
    seed: int
    trials: int
    found: Mapping[str, int]
    seconds: float

    @property
    def text(self) -> str:
        """The row as Markdown."""
        counts = (self.found.get(kind, 0) for kind in (*KINDS, OTHER))
        return _line(self.block, self.seed, f"{self.trials:,}", *counts, f"{self.seconds / 60:.0f}")


def with_row(page: Path, row: Row) -> None:
    """Write the row into the page's table, in place of the one of the same block and seed; what follows it stays."""
    lines = page.read_text(encoding="utf-8").splitlines() if page.exists() else []
    head = [_line(*_COLUMNS), _line(*("---" for _ in _COLUMNS))]
    rows = {_key(line): line for line in lines if line.startswith("| ") and line not in head}
    rows[_key(row.text)] = row.text
    end = max((number for number, line in enumerate(lines, 1) if line.startswith("| ")), default=len(lines))
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(
        "\n".join([_TEXT, *head, *(rows[key] for key in sorted(rows)), *lines[end:]]) + "\n", encoding="utf-8"
    )


def _key(line: str) -> tuple[str, int]:
    block, seed, *_ = (cell.strip() for cell in line.strip("|").split("|"))
    return block, int(seed)


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"
