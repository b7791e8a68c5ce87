"""Other ways to time a teacher and a student, each run as its users run it, in fresh processes.

All load the models with the session options that kdbench uses, give them its inputs and keep to its cores, so that
what differs is the method. Each returns the models' medians in ns; each raises MeasurementError if it fails.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from kdbench.errors import MeasurementError
from kdbench.files import storage
from kdbench.worker.jobs import JobModel

ROOT = Path(__file__).resolve().parents[3]

Rival = Callable[[Sequence[JobModel], Sequence[int], Path], list[float]]
"""(models, cores, a folder to work in) -> the median of each model in ns."""

SECONDS = 2.0  # of LoadGen for each model; the naive way takes them for both
_OUTPUT_TAIL = 2000  # characters of a failed process's output


def naive(models: Sequence[JobModel], cores: Sequence[int], folder: Path) -> list[float]:
    """Time one model, then the other, in one process."""
    return [median for median, _ in naive_medians_and_means(models, cores, folder)]


def naive_medians_and_means(
    models: Sequence[JobModel], cores: Sequence[int], folder: Path
) -> list[tuple[float, float]]:
    """Time one model, then the other, in one process; return each model's median and mean in ns."""
    output = _run("benchmarks.trust.methods.naive", models, cores, folder, SECONDS / len(models))
    return [(float(median), float(mean)) for median, mean in json.loads(output.splitlines()[-1])]


def loadgen(models: Sequence[JobModel], cores: Sequence[int], folder: Path) -> list[float]:
    """Let MLPerf LoadGen time one model, then the other, each in a process of its own."""
    outputs = [_run("benchmarks.trust.methods.loadgen", [model], cores, folder, SECONDS) for model in models]
    return [float(json.loads(output.splitlines()[-1])[0]) for output in outputs]


def pytest_benchmark(models: Sequence[JobModel], cores: Sequence[int], folder: Path) -> list[float]:
    """Let pytest-benchmark time both, one test each, with its default settings."""
    return [1e9 * stats["median"] for stats in pytest_benchmark_stats(models, cores, folder)]


def pytest_benchmark_stats(models: Sequence[JobModel], cores: Sequence[int], folder: Path) -> list[dict[str, float]]:
    """Let pytest-benchmark time both; return its statistics of each model, in seconds."""
    result = folder / "pytest-benchmark.json"
    result.unlink(missing_ok=True)
    test = str(ROOT / "benchmarks/trust/methods/pair_pytest.py")
    job = _job(models, cores, folder, 0)
    _process(["pytest", test, "-q", "-p", "no:cacheprovider", "--benchmark-json", str(result)], job)
    benchmarks = storage.read_json(result, "result of pytest-benchmark")["benchmarks"]
    by_number = {test["params"]["number"]: test["stats"] for test in benchmarks}
    return [by_number[number] for number in range(len(models))]


RIVALS: dict[str, Rival] = {"naive": naive, "pytest-benchmark": pytest_benchmark, "LoadGen": loadgen}


def _run(module: str, models: Sequence[JobModel], cores: Sequence[int], folder: Path, seconds: float) -> str:
    job = _job(models, cores, folder, seconds)
    return _process([module, str(job)], job)


def _job(models: Sequence[JobModel], cores: Sequence[int], folder: Path, seconds: float) -> Path:
    path = folder / "rival.json"
    job = {"models": [asdict(m) for m in models], "cores": [*cores], "seconds": seconds, "folder": str(folder)}
    storage.write_json(path, job)
    return path


def _process(module: Sequence[str], job: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *module],
        cwd=ROOT,
        env={**os.environ, "TRUST_JOB": str(job)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise MeasurementError(f"{module[0]} failed: {(done.stdout + done.stderr)[-_OUTPUT_TAIL:]}")
    return done.stdout
