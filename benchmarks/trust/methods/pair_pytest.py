"""Two tests as pytest-benchmark's users write them, with its default settings; TRUST_JOB names the job's file."""

import os
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.trust.methods.loaded import loaded, opened


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    """Read the job and keep this process to its cores."""
    return opened(Path(os.environ["TRUST_JOB"]))


@pytest.mark.parametrize("number", [0, 1], ids=["teacher", "student"])
def test_latency(benchmark: BenchmarkFixture, job: dict[str, Any], number: int) -> None:
    """Time one model's call."""
    calls = loaded(job["models"][number])
    benchmark(calls.run, *calls.arguments[0])
