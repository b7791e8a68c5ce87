"""Faults on purpose: what kdbench makes of hostile names, kills, full disks and damaged input.

    python -m benchmarks.faults                     every block, some minutes each
    python -m benchmarks.faults names --seed 7      one block with other random trials

A block is one file of `blocks/` with `trials(folder, seed, count)`; `situations/` holds what some of them try in turn,
`material/` what they damage, and how. With --page the counts become rows of a table, in place of an earlier row of the
same block and seed. The exit code is 1 if anything was found.
"""

import argparse
import tempfile
import time
from collections import Counter
from importlib import import_module
from pathlib import Path

from benchmarks.faults.page import Row, with_row
from benchmarks.faults.trial import kind_of

BLOCKS = {
    "names": 80,
    "doors": 80,
    "processes": 36,
    "input": 300,
    "options": 300,
    "resume": 80,
    "devices": 200,
    "files": 60,
    "endings": 40,
    "sweeps": 4,
    "clusters": 4,
}
"""The blocks and how many trials each makes."""


def main() -> int:
    """Run the blocks, print each trial that found something, then the counts of outcomes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("blocks", nargs="*", metavar="BLOCK", help=f"of {', '.join(BLOCKS)} (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, help="per block")
    parser.add_argument("--page", metavar="FILE", type=Path, help="write the counts into the table of this page")
    options = parser.parse_args()
    if unknown := set(options.blocks) - set(BLOCKS):
        parser.error(f"unknown block {min(unknown)!r}")
    bad = 0
    for block in options.blocks or BLOCKS:
        row = _run(block, options.seed, options.trials or BLOCKS[block])
        bad += sum(row.found.values())
        if options.page:
            with_row(options.page, row)
    return 1 if bad else 0


def _run(block: str, seed: int, count: int) -> Row:
    outcomes: Counter[str] = Counter()
    found: Counter[str] = Counter()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        for trial in import_module(f"benchmarks.faults.blocks.{block}").trials(Path(folder), seed, count):
            outcomes["found" if trial.found else trial.outcome] += 1
            found.update({kind_of(one) for one in trial.found})
            for one in trial.found:
                print(f"{block}: {trial.what}: {one}", flush=True)
    print(f"{block}: {outcomes.total()} trials: {dict(outcomes.most_common())}", flush=True)
    return Row(block, seed, outcomes.total(), found, time.monotonic() - began)


if __name__ == "__main__":
    raise SystemExit(main())
