"""How fast kdbench distils, compared with torchdistill, a plain PyTorch loop, and its own training on labels only.

    python -m benchmarks.training.speed --repeats 10    about 40 minutes on two cores; resumes if killed
    python -m benchmarks.training.speed --render        rewrites the page from the stored figures

CIFAR-100 from KDBENCH_DATA, images and all. A repeat times every contestant on one pair, each in a fresh process, in an
order that changes; a step's time holds the loading of its batch. First of all the plain loop is timed with several
numbers of loader processes, and it and torchdistill get the best of them. Timings that other work disturbed are
repeated. Linux only: processes are pinned to cores.
"""

import argparse
import os
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training import contestants, page
from benchmarks.training.calm import undisturbed
from benchmarks.training.workload import PAIRS, Workload
from benchmarks.trust.options import run_script, write_result
from benchmarks.trust.repeats import Values, repeat
from kdbench.errors import InputError
from kdbench.machine.cores import choose_cores, rotate_cores

RESULTS = Path(__file__).resolve().parents[2] / "reports/training_speed"
RESULT = "speed.json"
_TRIALS = 1  # of each number of loader processes


def measure(name: str, pairs: dict[str, Workload], cores: Sequence[int], folder: Path) -> Values:
    """Time every contestant on the pair that `name`, which ends in the repeat's number, begins with."""
    pair, _, number = name.rpartition("-")
    workload = pairs[pair]
    order = list(contestants.timed_here())
    random.Random(int(number)).shuffle(order)
    kept = rotate_cores(cores, workload.threads, int(number)) or ()
    timings = {name: undisturbed(partial(contestants.run, name, workload.to_json(), kept, folder)) for name in order}
    return {"pair": pair, "order": order, "cores": [*kept], "found": timings}


def try_workers(name: str, pairs: dict[str, Workload], cores: Sequence[int], folder: Path) -> Values:
    """Time the plain loop with no, one, two and as many loader processes as there are threads."""
    pair, _, number = name.rpartition("-")
    workload = pairs[pair]
    kept = rotate_cores(cores, workload.threads, int(number)) or ()
    numbers = sorted({0, 1, 2, workload.threads}, reverse=int(number) % 2 == 1)
    step_s = {}
    for workers in numbers:
        job = workload.with_workers(workers).to_json()
        step_s[str(workers)] = undisturbed(partial(contestants.run, "plain", job, kept, folder))["step_s"]
    return {"pair": pair, "step_s": step_s}


def best_workers(trials: Sequence[Values]) -> int:
    """Return the number of loader processes with which the median trial is fastest; the fewest of equals."""
    numbers = trials[0]["step_s"]
    return min(map(int, numbers), key=lambda n: (np.median([t["step_s"][str(n)] for t in trials]), n))


def main() -> None:
    """Run the repeats that are missing, gather all, and write the page."""
    args = _options().parse_args()
    if not args.render:
        _run(args)
    page.write(args.results, RESULT)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="of each pair, %(default)d")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="and cores for each, %(default)d")
    parser.add_argument("--steps", type=int, default=Workload.steps, metavar="N", help="counted, %(default)d")
    parser.add_argument("--folder", type=Path, default=Path("runs/training_speed"), help="of repeats, %(default)s")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the page goes, reports/training_speed")
    parser.add_argument("--render", action="store_true", help="measure nothing, write the page from the stored figures")
    return parser


def _run(args: argparse.Namespace) -> None:
    if "KDBENCH_DATA" not in os.environ:
        raise InputError("KDBENCH_DATA is not set", "let it name the folder that holds cifar-100-python")
    cores = choose_cores(None, (args.threads,)) or ()
    options: dict[str, Any] = {"threads": args.threads, "steps": args.steps}
    pairs = {pair: Workload(*networks, **options) for pair, networks in PAIRS.items()}
    for name, contestant in contestants.CONTESTANTS.items():
        if why := contestant.why_not():
            print(f"{name} is left out: {why}", flush=True)
    settings = {**options, "cores": [*cores], "contestants": [*contestants.timed_here()]}
    settings["libraries"] = contestants.versions()

    work = args.folder.resolve()
    trials = repeat(_names(_TRIALS), settings, work / "workers", lambda name: try_workers(name, pairs, cores, work))
    tried = {pair: [t for t in trials if t["pair"] == pair] for pair in pairs}
    pairs = {pair: workload.with_workers(best_workers(tried[pair])) for pair, workload in pairs.items()}
    settings["workloads"] = {pair: workload.to_json() for pair, workload in pairs.items()}
    repeats = repeat(_names(args.repeats), settings, work / "repeats", lambda name: measure(name, pairs, cores, work))
    write_result(args.results / RESULT, {**settings, "workers_tried": tried}, repeats)


def _names(count: int) -> list[str]:
    return [f"{pair}-{number:03}" for number in range(count) for pair in PAIRS]


if __name__ == "__main__":
    run_script(main)
