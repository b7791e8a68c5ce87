"""Start-up time: `kdbench --help` in a fresh process, compared with the interpreter and its parser alone.

The goal is `kdbench --help` in under 0.1 s.
"""

import subprocess
import sys

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

PROMISE_S = 0.1
ROUNDS = 20


def _ask(program: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-c", program, *arguments], stdout=subprocess.DEVNULL, check=True)


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        pytest.param("pass", (), id="interpreter alone"),
        pytest.param("import typer", (), id="and typer"),
        pytest.param("from kdbench.cli.main import main; main()", ("--version",), id="kdbench --version"),
        pytest.param("from kdbench.cli.main import main; main()", ("bench", "--help"), id="kdbench bench --help"),
        pytest.param("from kdbench.cli.main import main; main()", ("list", "recipes"), id="kdbench list recipes"),
    ],
)
def bench_start(benchmark: BenchmarkFixture, program: str, arguments: tuple[str, ...]) -> None:
    benchmark.pedantic(_ask, args=(program, *arguments), rounds=ROUNDS, warmup_rounds=2)


def bench_help(benchmark: BenchmarkFixture) -> None:
    benchmark.pedantic(
        _ask, args=("from kdbench.cli.main import main; main()", "--help"), rounds=ROUNDS, warmup_rounds=2
    )
    if benchmark.stats is not None:  # None when timing is switched off
        assert benchmark.stats.stats.median < PROMISE_S
