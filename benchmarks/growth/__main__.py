"""CPU time of reports, comparisons, verdicts, histories and plans against the number of models, records or points.

    python -m benchmarks.growth [--only TASK ...] [--repeats N] [--folder DIR] [--page FILE]

Each task runs at three sizes, each time in a fork of a process that has loaded the libraries; the least CPU time of the
repeats counts, because other work only adds to it. The exponent is the slope of log time over log size between the last
two sizes. Reports, verdicts and comparisons include reading the records, reports their figures. Linux.
"""

import argparse
import math
import os
import pickle
import resource
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.growth.tasks import SetUp, Task, Tasks

WARM_UP = 5
STEEPEST = 1.2  # exponent

_PAGE = """# How work grows with the number of models and records

CPU time of {repeats} on two cores of a virtual machine that other work shares. Memory is the peak of the
process at the largest n, including libraries and input. Records are synthetic, and reports include their figures. The
exponent is the slope of log time over log n between the last two sizes; the goal is at most n^{steepest}.

    python -m benchmarks.growth --page reports/growth/README.md

{table}

`history` reads every record; `history again` finds all of them in the index from an earlier call. `plan of a recipe`
is what `kdbench run` does before it trains: it expands a recipe's points, checks them and names their jobs. `plan of a
sweep` is `kdbench sweep --dry-run` with as many points, which also times steps and divides the work. `driver of a
sweep` works them off with trainings and measurements that only write the files of a real one; its goal is 50 ms for
each point. `record of a sweep` merges them to one record, `report of a sweep` writes its report. `plan of a bench`
reads the files and lists every expected number.
"""
_HEAD = "| Task | n | CPU time, s | exponent | memory | goal at the largest n |\n|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Cost:
    """CPU time and the most memory of one run of a task."""

    cpu_s: float
    peak_bytes: int


def main() -> None:
    """Run the tasks and print a row for each; write the page if one is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--only", metavar="TASK", nargs="+", default=[], help="tasks whose names start with one of these"
    )
    parser.add_argument("--repeats", metavar="N", type=int, default=3, help="runs of each task and size (default: 3)")
    parser.add_argument("--folder", metavar="DIR", type=Path, help="keep the synthetic records there for another time")
    parser.add_argument("--page", metavar="FILE", type=Path, help="write the table into this page")
    options = parser.parse_args()
    rows = [_HEAD]
    print(_HEAD)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        for task in Tasks(options.folder or Path(folder), cache):
            if options.only and not task.name.startswith(tuple(options.only)):
                continue
            _cost(task.set_up, WARM_UP, cache, fork=False)
            costs = [[_cost(task.set_up, size, cache) for _ in range(options.repeats)] for size in task.sizes]
            rows.append(_row(task, [min(of_size, key=lambda cost: cost.cpu_s) for of_size in costs]))
            print(rows[-1], flush=True)
    if options.page:
        repeats = "one run" if options.repeats == 1 else f"the fastest of {options.repeats} runs"
        options.page.write_text(_PAGE.format(repeats=repeats, steepest=STEEPEST, table="\n".join(rows)))


def _row(task: Task, costs: list[Cost]) -> str:
    (*_, n, size), (*_, before, last) = task.sizes, costs
    exponent = math.log(last.cpu_s / before.cpu_s) / math.log(size / n)
    met = last.cpu_s <= task.goal_s and exponent <= STEEPEST
    cells = [
        task.name,
        ", ".join(f"{size:,}" for size in task.sizes),
        ", ".join(f"{cost.cpu_s:.2f}" for cost in costs),
        f"n^{exponent:.1f}",
        f"{last.peak_bytes / 1e6:.0f} MB",
        f"{task.goal_s:g} s: {'met' if met else 'missed'}",
    ]
    return f"| {' | '.join(cells)} |"


def _cost(set_up: SetUp, size: int, cache: Path, *, fork: bool = True) -> Cost:
    """Return what a task costs, without its preparation, in a fork of this process or in this one."""
    if not fork:
        return _run(set_up, size)
    shutil.rmtree(cache, ignore_errors=True)
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.write(sender, pickle.dumps(_run(set_up, size)))
            code = 0
        finally:
            os._exit(code)
    os.close(sender)
    with os.fdopen(receiver, "rb") as stream:
        content = stream.read()
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise SystemExit("a task failed")
    cost: Cost = pickle.loads(content)  # written by our own fork
    return cost


def _run(set_up: SetUp, size: int) -> Cost:
    run = set_up(size)
    begin = time.process_time()
    run()
    return Cost(time.process_time() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main()
