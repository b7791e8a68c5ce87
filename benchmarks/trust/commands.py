"""Whether the command line decides: the README's first commands, and comparisons of two given models.

    python -m benchmarks.trust.commands --repeats 10                               resumes if killed
    python -m benchmarks.trust.commands --comparisons 12 --models A.onnx B.onnx    adds comparisons
    python -m benchmarks.trust.commands --render                                   writes the tables again

A repeat runs `kdbench run` in a new folder and with an empty cache, as on a machine that kdbench does not know yet,
then `kdbench ready` for the target `server-cpu` and for one whose limit no model meets, beside one kind of work
(`neighbours`). A comparison runs `kdbench bench` on the two models alone on the machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import ROOT, run_command
from benchmarks.trust.neighbours import CONDITIONS, neighbours
from benchmarks.trust.options import common, run_script, write_result
from benchmarks.trust.repeats import Values, kept, repeat
from benchmarks.trust.tables import page
from benchmarks.trust.tables.commands_table import TARGET
from kdbench.files import storage

UNREACHABLE = """name = "unreachable"
title = "a limit that no model meets"

[[criterion]]
metric = "latency_p50_ns"
max = "1 us"
"""


def main() -> None:
    """Run the repeats that are missing, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common(parser, repeats=0, folder="runs/trust/commands")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=[*CONDITIONS], help="beside what work")
    parser.add_argument("--comparisons", type=int, default=0, metavar="N", help="how many in all, %(default)d")
    parser.add_argument("--models", nargs=2, type=Path, metavar="FILE", help="the ONNX files to compare")
    parser.add_argument("--budget", type=float, default=10.0, metavar="S", help="of a comparison, %(default)g")
    args = parser.parse_args()
    if args.comparisons and not args.models:
        parser.error("--comparisons needs --models")
    if args.render:
        page.write(args.results)
        return
    storage.make_folder(args.folder)
    settings = {"budget_s": args.budget}
    names = [f"run-{condition}-{number:03}" for number in range(args.repeats) for condition in args.conditions]
    repeat(names, settings, args.folder, _run)
    names = [f"bench-idle-{number:03}" for number in range(args.comparisons)]
    repeat(names, settings, args.folder, lambda _: _bench(args.models, args.budget))
    write_result(args.results / "commands.json", settings, kept(args.folder))
    page.write(args.results)


def _run(name: str) -> Values:
    """Run the recipe `digits` and judge it; `name` is `run-CONDITION-NUMBER`, and the number the seed of the work."""
    _, condition, number = name.split("-")
    with tempfile.TemporaryDirectory() as temporary, neighbours(condition, int(number)):
        folder = Path(temporary)
        (folder / "unreachable.toml").write_text(UNREACHABLE, encoding="utf-8")
        began = time.monotonic()
        _kdbench(["run", "--out", "run", "--quiet"], folder)
        seconds = time.monotonic() - began
        exits = {
            target: _kdbench(["ready", "run", "--target", file], folder, allowed=(0, 1, 2)).returncode
            for target, file in ((TARGET, TARGET), ("unreachable", "unreachable.toml"))
        }
    return {"kind": "run", "condition": condition, "seconds": round(seconds, 2), "exit_codes": exits}


def _bench(models: Sequence[Path], budget_s: float) -> Values:
    """Compare two models; return the ratio of their latencies with its interval."""
    files = [str(path.resolve()) for path in models]
    command = ["bench", *files, "--no-accuracy", "--budget", f"{budget_s:g}s", "--json", "--out", "benched"]
    with tempfile.TemporaryDirectory() as temporary:
        record = json.loads(_kdbench(command, Path(temporary)).stdout)
    ratio = next(pair for pair in record["pairs"] if pair["metric"] == "latency_ratio")  # batch 1, one thread
    return {
        "kind": "bench",
        "condition": "idle",
        "models": [path.stem for path in models],
        "ratio": {"value": ratio["value"], "low": ratio["interval"]["low"], "high": ratio["interval"]["high"]},
    }


def _kdbench(
    arguments: Sequence[str], folder: Path, allowed: Sequence[int] = (0,)
) -> "subprocess.CompletedProcess[str]":
    """Run a command of kdbench in `folder`; raises MeasurementError if its exit code is not `allowed`.

    The experiment holds the machine's measuring lock, so the command takes one of its own.
    """
    environment = {"KDBENCH_CACHE": str(folder / "cache"), "KDBENCH_LOCK_DIR": str(folder / "locks")}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "kdbench", *arguments]
    return run_command(
        f"kdbench {arguments[0]}",
        command,
        folder=folder,
        variables={**environment, "PYTHONPATH": path},
        allowed=allowed,
    )


if __name__ == "__main__":
    run_script(main)
