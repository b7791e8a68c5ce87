"""CPU time of reports, comparisons, verdicts and histories against the number of models or records.

    python -m benchmarks.growth [--figures]

Each task runs at three sizes, in this process; the exponent is the slope of log time over log size between the last
two. Reports include reading the record.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.growth.records import Parts, synthetic_record
from kdbench.judge.compare.records import compare
from kdbench.judge.history import history
from kdbench.judge.located_records import locate_records
from kdbench.judge.readiness import judge
from kdbench.judge.target import load_target, shipped_targets
from kdbench.report import Content, write
from kdbench.report.styles import STYLES
from kdbench.report.text.comparison import markdown
from kdbench.results.records import RunRecord

SIZES = (25, 50, 100)
COMPARED = (75, 150, 300)
RECORDS = (500, 1000, 2000)
SMALL = Parts(classes=3, energy=False, offline=False, layers=False, seeds=False, faults=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--figures", action="store_true", help="draw the figures of reports too")
    figures = parser.parse_args().figures
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, task, sizes in _tasks(root, figures):
            times = [_cpu_s(task, size) for size in sizes]
            exponent = math.log(times[-1] / times[-2]) / math.log(sizes[-1] / sizes[-2])
            listed = ", ".join(f"{size}: {time:.2f} s" for size, time in zip(sizes, times, strict=True))
            print(f"{name:24s} {listed}; n^{exponent:.1f}")


def _cpu_s(task: Callable[[int], Callable[[], object]], size: int) -> float:
    run = task(size)  # sets up, untimed
    begin = time.process_time()
    run()
    return time.process_time() - begin


def _tasks(root: Path, figures: bool):  # noqa: C901  # a list: each task is a few lines
    def stored(models: int, hour: int = 0) -> Path:
        path = root / f"{models}-{hour}"
        if not path.exists():
            path.mkdir()
            synthetic_record(models, hour=hour).write(path / "record.json")
        return path

    def report(format_: str, style: str | None = None):
        def set_up(models: int):
            path = stored(models)

            def run() -> None:
                read = Content.read(path)
                content = Content(read.record, read.verdicts, read.samples, style)
                if not figures:
                    content.__dict__["drawings"] = []
                write(content, path, (format_,))

            return run

        return set_up

    def ready(models: int):
        path, target = stored(models), load_target(next(iter(shipped_targets())))
        return lambda: judge(RunRecord.read(path), target)

    def compared(models: int):
        paths = stored(models), stored(models, hour=5)
        return lambda: markdown(compare(*map(RunRecord.read, paths)))

    def over(records: int):
        folders = [root / "history" / f"{hour:05}" for hour in range(records)]
        for hour, folder in enumerate(folders):
            if not folder.exists():
                folder.mkdir(parents=True)
                synthetic_record(4, hour=hour, parts=SMALL).write(folder / "record.json")
        return lambda: history(locate_records(folders)[0])

    for format_ in ("md", "html", "csv", "json"):
        yield f"report {format_}", report(format_), SIZES
    for style, _ in STYLES:
        yield f"report --style {style}", report("md", style), SIZES
    yield "ready", ready, COMPARED
    yield "compare", compared, COMPARED
    yield "history", over, RECORDS


if __name__ == "__main__":
    main()
