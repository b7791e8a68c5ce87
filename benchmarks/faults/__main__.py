"""Faults on purpose: what kdbench makes of hostile names, kills, full disks and damaged input.

    python -m benchmarks.faults                     every block, some minutes each
    python -m benchmarks.faults names --seed 7      one block with other random trials

A block is one file with `trials(folder, seed, count)`. The exit code is 1 if anything was found.
"""

import argparse
import tempfile
from collections import Counter
from importlib import import_module
from pathlib import Path

BLOCKS = {"names": 80, "processes": 24, "input": 300}
"""The blocks and how many trials each makes."""


def main() -> int:
    """Run the blocks, print each trial that found something, then the counts of outcomes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("blocks", nargs="*", metavar="BLOCK", help=f"of {', '.join(BLOCKS)} (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, help="per block")
    options = parser.parse_args()
    if unknown := set(options.blocks) - set(BLOCKS):
        parser.error(f"unknown block {min(unknown)!r}")
    bad = 0
    for block in options.blocks or BLOCKS:
        outcomes: Counter[str] = Counter()
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            module = import_module(f"benchmarks.faults.{block}")
            for trial in module.trials(Path(folder), options.seed, options.trials or BLOCKS[block]):
                outcomes["found" if trial.found else trial.outcome] += 1
                for one in trial.found:
                    print(f"{block}: {trial.what}: {one}", flush=True)
        bad += outcomes["found"]
        print(f"{block}: {outcomes.total()} trials: {dict(outcomes.most_common())}", flush=True)
    return 1 if bad else 0


raise SystemExit(main())
