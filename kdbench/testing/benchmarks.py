"""Benchmark tests: their selection, their lock on the machine, and their entries in pytest-benchmark.

pytest loads this module in every project of the environment, so it imports very little.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from kdbench.characters import for_log
from kdbench.errors import KdbenchError
from kdbench.progress import Silent
from kdbench.testing.settings import benchmarking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kdbench.results.records import Axes

# Measurements have another lock, which the harness acquires inside a test, possibly several times. Code that needs
# both acquires this one first.
LOCK = "kdbench-testing.lock"
_PYTEST_BENCHMARK = {"benchmark", "benchmark_weave"}  # the fixtures of pytest-benchmark
_SKIP = pytest.mark.skip(reason="Skipping benchmark (--benchmark-skip active).")
_MAX_ROUNDS = 1000  # reported to pytest-benchmark, which writes each to its JSON


def benchmark_fixtures(item: pytest.Item) -> set[str]:
    """Return the fixtures of a test that make it a benchmark."""
    return {"kdbench", *_PYTEST_BENCHMARK}.intersection(getattr(item, "fixturenames", ()))


def select(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--benchmark`, deselect all other tests; make tests that use `kdbench` benchmarks of pytest-benchmark too.

    Such a test gets the fixture `benchmark`, so that pytest-benchmark's options apply to it, with a timer that replays
    the model's call times. A test that uses `benchmark` itself keeps its timer.
    """
    if benchmarking(config):
        selected = [item for item in items if benchmark_fixtures(item)]
        if dropped := [item for item in items if not benchmark_fixtures(item)]:
            config.hook.pytest_deselected(items=dropped)
            items[:] = selected
    tests = [item for item in items if "kdbench" in benchmark_fixtures(item)]
    if not tests:
        return
    if config.getoption("benchmark_skip", False) and not config.getoption("benchmark_only", False):
        for item in tests:
            item.add_marker(_SKIP)
    # Under xdist pytest-benchmark is disabled and records nothing.
    distributed = hasattr(config, "workerinput") or config.getoption("dist", "no") != "no"
    if config.pluginmanager.hasplugin("pytest-benchmark") and not distributed:
        # Listed first: the parametrized tests of one function share their list of fixtures, to which one is added.
        for item in [item for item in tests if not benchmark_fixtures(item) & _PYTEST_BENCHMARK]:
            _add_replay(item)


def _add_replay(item: pytest.Item) -> None:
    timer = item.stash[REPLAY] = ReplayTimer()
    marker = item.get_closest_marker("benchmark")
    # pytest-benchmark reads the closest marker only: the new one repeats the test's.
    item.add_marker(pytest.mark.benchmark(**{**(marker.kwargs if marker else {}), "timer": timer}), append=False)
    names = getattr(item, "fixturenames")  # noqa: B009 - only items with fixtures have it
    if "benchmark" not in names:
        names.append("benchmark")


class TerminalNotes(Silent):
    """Progress that writes notes to pytest's terminal, and nothing else; xdist's workers have none."""

    def __init__(self, config: pytest.Config) -> None:
        self._terminal = config.pluginmanager.get_plugin("terminalreporter")
        self._capture = config.pluginmanager.get_plugin("capturemanager")

    def note(self, text: str) -> None:
        """Write the note at once, on its own line, although pytest captures the output of a running test."""
        if self._terminal is None:
            return
        with self._capture.global_and_fixture_disabled() if self._capture is not None else nullcontext():
            self._terminal.ensure_newline()
            self._terminal.write_line(for_log(f"kdbench: {text}"))
            self._terminal.flush()


@contextmanager
def exclusive(item: pytest.Item) -> Iterator[None]:
    """Hold the machine's lock of benchmark tests while a timed test and its fixtures run.

    Ends the session if the lock cannot be created.
    """
    if not (benchmarking(item.config) and benchmark_fixtures(item)):
        yield
        return
    from kdbench.machine.lock import machine_lock

    with ExitStack() as stack:
        try:
            stack.enter_context(machine_lock(TerminalNotes(item.config), LOCK))
        except KdbenchError as error:
            pytest.exit(f"kdbench: {error.message}; {error.hint}", pytest.ExitCode.USAGE_ERROR)
        yield


class ReplayTimer:
    """A timer for pytest-benchmark that replays call times which were measured elsewhere.

    pytest-benchmark reads its timer before and after every round. Once call times are `loaded`, the difference of two
    readings is the next call time. pytest-benchmark's statistics, in the terminal and in its JSON file, are then the
    model's. Until then it is the clock: a test that uses `benchmark` itself is timed as usual.
    """

    __name__ = "kdbench.call_times"  # pytest-benchmark records it as the timer's name

    def __init__(self) -> None:
        self._readings: list[float] = []

    def load(self, seconds: Sequence[float]) -> None:
        """Set the durations of the next rounds, in order."""
        # Each pair starts at zero: no rounding of a running sum gets into the differences.
        self._readings = [reading for duration in reversed(seconds) for reading in (duration, 0.0)]

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self._readings.pop() if self._readings else time.perf_counter()


REPLAY = pytest.StashKey[ReplayTimer]()


def enter(benchmark: Any, timer: ReplayTimer | None, seconds: Sequence[float], info: Mapping[str, Any]) -> None:
    """Report a test's call times, and `info`, to its fixture `benchmark`.

    A test that uses `benchmark` itself, and so has no `timer`, keeps its times. Without times there is no entry.
    """
    if info:
        benchmark.extra_info["kdbench"] = dict(info)
    if timer is None or benchmark.stats is not None:
        return
    # A disabled fixture runs the function and records nothing.
    benchmark.disabled = benchmark.disabled or not seconds
    timer.load(seconds)
    benchmark.pedantic(lambda: None, rounds=max(len(seconds), 1))
    timer.load(())


def call_times(samples: "Mapping[str, NDArray[Any]]", model: str, axes: "Axes") -> list[float]:
    """Return the times of a model's calls at `axes` in seconds, ascending; empty if there are none.

    Of more than a thousand calls, it returns a thousand at equal steps of rank, so that their mean and spread do not
    depend on which of the rare slow calls are selected.
    """
    import numpy as np

    from kdbench.results.samples import call_times_ns

    ns = call_times_ns(samples, [model], axes)
    if ns is None:
        return []
    ns = np.sort(ns)
    kept = min(len(ns), _MAX_ROUNDS)
    ranks = ((np.arange(kept) + 0.5) * len(ns) / kept).astype(np.int64)
    return [float(time_ns) / 1e9 for time_ns in ns[ranks]]
