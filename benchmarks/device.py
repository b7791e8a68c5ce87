"""Whether a bundle measures on a device what `kdbench bench` measures on the same machine.

    python -m benchmarks.device NAME --python DEVICE_PYTHON MODEL... [--data D] [--repeats 3]   resumes if killed
    python -m benchmarks.device --render                                                        writes the page again

The device is this machine with another interpreter, which has numpy and onnxruntime alone. Host and device take turns
on one core. Every device result is merged into the host's first run, which is then judged for a target that describes
this machine. Figures are kept in NAME.json in --results, from which the page is written. Linux.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.command import ROOT, run_command
from benchmarks.trust.options import run_script
from benchmarks.trust.tables.markdown import paragraph, percent, table
from kdbench import units
from kdbench.files import storage
from kdbench.judge.readiness import judge
from kdbench.judge.target import load_target
from kdbench.machine.host import processor
from kdbench.results.records import RunRecord
from kdbench.workflows.merge import merge

AT = {"provider": "cpu", "threads": 1, "batch": 1}
_TARGET = """name = "here"
title = "this machine"

[device]
cpu = '{cpu}'
provider = "cpu"

[[criterion]]
metric = "latency_p50_ns"
max = "1 s"

[[criterion]]
metric = "size_bytes"
max = "100 MB"
"""
_ABOUT = """The same models, measured by `kdbench bench` and by a bundle's `run.py` with an interpreter that has numpy
and onnxruntime alone, in turns on one core of one machine. The last two columns count over all pairs of a host's and a
device's run: how often the device's value lies within the host's interval, and the host's within the device's. The
verdict is for a target that describes this machine, after every device result was merged. Where the versions of
onnxruntime differ, so may the latencies: `digits-py311` has the host's version, `digits-py311-old` and `digits-py39`
an older one, whose calls of small models are shorter."""

Values = dict[str, Any]


def main() -> None:
    """Run the repeats that are missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="of this comparison")
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL", help="ONNX files, the reference first")
    parser.add_argument("--python", type=Path, help="the device's interpreter")
    parser.add_argument("--data", help="as of kdbench bench; without it, inputs are synthetic")
    parser.add_argument("--budget", default="20s", help="of every run, %(default)s")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="of each side, %(default)d")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="%(default)d")
    parser.add_argument("--folder", type=Path, default=Path("runs/device"), help="where runs are kept, %(default)s")
    parser.add_argument("--results", type=Path, default=ROOT / "reports/devices", help="reports/devices")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    args = parser.parse_args()
    if not args.render:
        if not (args.name and args.models and args.python):
            parser.error("give a NAME, --python and models")
        os.sched_setaffinity(0, {args.core})
        folder = storage.make_folder(args.folder / args.name)
        for number in range(args.repeats):
            _bench(folder / f"host-{number}", args)
            _run_bundle(folder, folder / f"device-{number}.zip", args)
        storage.make_folder(args.results)
        storage.write_json(
            args.results / f"{args.name}.json", {"command": _command(args), **compared(folder, args.repeats)}
        )
    results = {path.stem: storage.read_json(path, "result") for path in sorted(args.results.glob("*.json"))}
    storage.write_text(args.results / "README.md", page(results))


def _command(args: argparse.Namespace) -> str:
    """Return the command without this machine's folders."""
    data = args.data and re.sub(r":.*/", ":", args.data)
    words = [args.name, "--python", args.python.name, *(path.name for path in args.models)]
    options = [*(["--data", data] if data else []), "--budget", args.budget, "--repeats", str(args.repeats)]
    return shlex.join(["python", "-m", "benchmarks.device", *words, *options])


def _bench(out: Path, args: argparse.Namespace) -> None:
    if (out / "record.json").exists():
        return
    shutil.rmtree(out, ignore_errors=True)
    data = ["--data", args.data] if args.data else ["--no-accuracy"]
    _kdbench("bench", *args.models, *data, "--budget", args.budget, "--energy", "off", "--out", out)


def _run_bundle(folder: Path, result: Path, args: argparse.Namespace) -> None:
    """Run the bundle of the host's first run, which is packed for the device's version of Python."""
    bundle, target = folder / "bundle", folder / "here.toml"
    if result.exists():
        return
    if not bundle.exists():
        storage.write_text(target, _TARGET.format(cpu=processor()))
        command = [args.python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        data = ["--data", args.data] if args.data else []
        options = ["--target", target, "--python", version, "--lower", "--threads", "1", "--budget", args.budget]
        _kdbench("bundle", folder / "host-0", *data, *options, "--out", folder / "bundle.zip")
        with zipfile.ZipFile(folder / "bundle.zip") as archive:
            archive.extractall(bundle)
    run_command("run.py", [args.python, "-s", bundle / "run.py", "--fresh", "--out", result])


def _kdbench(*arguments: str | Path) -> None:
    run_command(f"kdbench {arguments[0]}", [sys.executable, "-m", "kdbench", *arguments])


def compared(folder: Path, repeats: int) -> Values:
    """Return versions, the verdict, and of each model and speed-up the value with its interval, of each run."""
    hosts = [RunRecord.read(folder / f"host-{number}") for number in range(repeats)]
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary) / "run"
        shutil.copytree(folder / "host-0", run)
        for number in range(repeats):
            merge(run, folder / f"device-{number}.zip", name=f"device-{number}")
        record = RunRecord.read(run)
        verdict = judge(record, load_target(folder / "here.toml")).overall
    (first, *_) = record.devices
    rows = []
    for model in [card.id for card in record.models]:
        for metric, find in (("latency_p50_ns", RunRecord.find), ("latency_ratio", RunRecord.find_pair)):
            devices = [find(record, model, metric, device=f"device-{n}", **AT) for n in range(repeats)]
            runs = {"host": [find(host, model, metric, **AT) for host in hosts], "device": devices}
            if all(result is not None and result.interval is not None for of in runs.values() for result in of):
                estimates = {
                    side: [[r.value, r.interval.low, r.interval.high] for r in of] for side, of in runs.items()
                }
                rows.append({"model": model, "metric": metric, **estimates})
    versions = {
        side: {name: libraries.get(name) for name in ("onnxruntime", "numpy")} | {"python": host.get("python")}
        for side, libraries, host in (
            ("host", hosts[0].environment.libraries, hosts[0].environment.host),
            ("device", first.environment.libraries, first.environment.host),
        )
    }
    return {"cpu": processor(), "repeats": repeats, "versions": versions, "verdict": verdict, "rows": rows}


def page(results: dict[str, Values]) -> str:
    """Return the page of all comparisons as Markdown."""
    parts = ["# A device's numbers beside the host's", paragraph(_ABOUT)]
    for name, result in results.items():
        versions = " and ".join(_versions(side, result["versions"][side]) for side in ("host", "device"))
        runs = f"{result['repeats']} run{'s' if result['repeats'] > 1 else ''} of each side"
        about = f"{result['cpu']}, {runs}, {versions}. Verdict: {result['verdict']}."
        heads = ["", "host (median)", "device (median)", "difference", "device within host's", "host within device's"]
        parts += [f"## {name}", f"    {result['command']}", paragraph(about), table(heads, [*_rows(result["rows"])])]
    return "\n\n".join(parts) + "\n"


def _versions(side: str, versions: dict[str, str | None]) -> str:
    listed = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    return f"the {side} with {listed}"


def _rows(rows: Sequence[Values]) -> Iterator[list[str]]:
    for row in rows:
        host, device = ([tuple(estimate) for estimate in row[side]] for side in ("host", "device"))
        is_ratio = row["metric"] == "latency_ratio"
        write = units.ratio if is_ratio else units.time
        middles = [sorted(estimates)[len(estimates) // 2][0] for estimates in (host, device)]
        yield [
            f"{row['model']}, speed-up" if is_ratio else row["model"],
            *map(write, middles),
            percent(middles[1] / middles[0] - 1),
            _within(device, host),
            _within(host, device),
        ]


def _within(values: Sequence[tuple[float, ...]], intervals: Sequence[tuple[float, ...]]) -> str:
    """Count the pairs of a value and another side's interval that contains it."""
    held = sum(low <= value <= high for value, *_ in values for _, low, high in intervals)
    return f"{held} of {len(values) * len(intervals)}"


if __name__ == "__main__":
    run_script(main)
