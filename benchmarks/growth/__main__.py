"""CPU time of reports, comparisons, verdicts, histories and plans against the number of models or records.

    python -m benchmarks.growth [--only TASK ...] [--folder DIR]

Each task runs at three sizes, in this process, after a small one that loads its libraries; the exponent is the slope of
log time over log size between the last two. Reports, verdicts and comparisons include reading the records, reports
their figures. The output is a table in Markdown; `reports/growth` has the last one.
"""

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.growth.records import Parts, synthetic_record
from kdbench.judge.compare.records import compare
from kdbench.judge.history import history
from kdbench.judge.located_records import locate_records
from kdbench.judge.readiness import judge
from kdbench.judge.target import load_target, shipped_targets
from kdbench.recipe.loading import recipe_of
from kdbench.report import Content, write
from kdbench.report.styles import STYLES
from kdbench.report.text.comparison import markdown
from kdbench.results.records import RunRecord
from kdbench.workflows.study.plan import plan

SMALL = Parts(classes=3, energy=False, offline=False, layers=False, seeds=False, faults=False)
MODELS, COMPARED, RECORDS, POINTS = (25, 50, 100), (75, 150, 300), (500, 1000, 2000), (2500, 5000, 10_000)
WARM_UP = 5

SetUp = Callable[[int], Callable[[], object]]
"""Prepares a task of a size, untimed, and returns the task."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only", metavar="TASK", nargs="+", default=[], help="tasks whose names start with one of these"
    )
    parser.add_argument("--folder", metavar="DIR", type=Path, help="keep the synthetic records there for another time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print("| Task | n | CPU time | | | growth |\n|---|---|---|---|---|---|")
        for name, set_up, sizes in _tasks(options.folder or Path(folder), Path(folder) / "cache"):
            if not options.only or name.startswith(tuple(options.only)):
                set_up(WARM_UP)()
                print(f"| {name} | {_row(sizes, [_cpu_s(set_up, size) for size in sizes])} |", flush=True)


def _row(sizes: tuple[int, ...], times: list[float]) -> str:
    exponent = math.log(times[-1] / times[-2]) / math.log(sizes[-1] / sizes[-2])
    cells = [", ".join(f"{size:,}" for size in sizes), *(f"{time:.2f} s" for time in times), f"n^{exponent:.1f}"]
    return " | ".join(cells)


def _cpu_s(set_up: SetUp, size: int) -> float:
    run = set_up(size)
    begin = time.process_time()
    run()
    return time.process_time() - begin


def _tasks(root: Path, cache: Path) -> Iterator[tuple[str, SetUp, tuple[int, ...]]]:
    def stored(models: int, hour: int = 0) -> Path:
        return _stored(root / f"{models}-{hour}", models, hour, Parts())

    def report(format_: str, style: str | None = None) -> SetUp:
        def set_up(models: int) -> Callable[[], object]:
            path = stored(models)

            def run() -> None:
                read = Content.read(path)
                write(Content(read.record, read.verdicts, read.samples, style), path, (format_,))

            return run

        return set_up

    def ready(models: int) -> Callable[[], object]:
        path, target = stored(models), load_target(next(iter(shipped_targets())))
        return lambda: judge(RunRecord.read(path), target)

    def compared(models: int) -> Callable[[], object]:
        paths = stored(models), stored(models, hour=5)
        return lambda: markdown(compare(*map(RunRecord.read, paths)))

    def over(records: int) -> Callable[[], object]:
        os.environ["KDBENCH_CACHE"] = str(cache / f"{records}")  # without what others read
        folders = [_stored(root / "history" / f"{hour:05}", 4, hour, SMALL) for hour in range(records)]
        return lambda: history(locate_records(folders)[0])

    for format_ in ("md", "html", "csv", "json"):
        yield f"report {format_}", report(format_), MODELS
    for style, _ in STYLES:
        yield f"style {style}", report("md", style), MODELS
    yield "ready", ready, COMPARED
    yield "compare", compared, COMPARED
    yield "plan", planned, POINTS
    yield "history", over, RECORDS
    yield "history again", over, RECORDS


def planned(points: int) -> Callable[[], object]:
    """Return the planning of a recipe with a sweep of that many points."""
    sweep = {
        "training.optimizer.lr": [step / 1e6 for step in range(1, points // 5 + 1)],
        "training.epochs": [*range(1, 6)],
    }
    student = {"name": "student", "model": "mlp", "sweep": sweep}
    teacher = {"name": "teacher", "model": "mlp"}
    content = {"name": "growth", "data": {"name": "digits"}, "teacher": [teacher], "student": [student]}
    return lambda: [job.key(recipe, "") for recipe in (recipe_of(content),) for job in plan(recipe)]


def _stored(folder: Path, models: int, hour: int, parts: Parts) -> Path:
    """Return a folder with a synthetic record, written on the first call."""
    if not (folder / "record.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        synthetic_record(models, hour=hour, parts=parts).write(folder / "record.json")
    return folder


if __name__ == "__main__":
    main()
