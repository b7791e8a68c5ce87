"""Which tests are benchmarks, and what that means for them.

Loaded by pytest in every project of the environment: it imports next to nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kdbench.testing.settings import benchmarking

_TIMED = {"benchmark", "benchmark_weave"}  # the fixtures of pytest-benchmark
_SKIP = pytest.mark.skip(reason="Skipping benchmark (--benchmark-skip active).")


def fixtures_of(item: pytest.Item) -> set[str]:
    """Return those of a test's fixtures that make it a benchmark."""
    return {"kdbench", *_TIMED}.intersection(getattr(item, "fixturenames", ()))


def select(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--benchmark`, deselect what is no benchmark; make the tests that use `kdbench` benchmarks to others.

    Such a test gets the fixture `benchmark` too, so that pytest-benchmark's options are for it as for its own tests,
    and a timer that gives out the model's call times again. A test that uses `benchmark` itself keeps its timer.
    """
    if benchmarking(config):
        kept = [item for item in items if fixtures_of(item)]
        if dropped := [item for item in items if not fixtures_of(item)]:
            config.hook.pytest_deselected(items=dropped)
            items[:] = kept
    ours = [item for item in items if "kdbench" in fixtures_of(item)]
    if not ours:
        return
    if config.getoption("benchmark_skip", False) and not config.getoption("benchmark_only", False):
        for item in ours:
            item.add_marker(_SKIP)
    if _entering(config):
        for item in ours:
            if not fixtures_of(item) & _TIMED:
                _enter(item)


def _entering(config: pytest.Config) -> bool:
    """Whether pytest-benchmark is there and takes times: not in a session that xdist distributes."""
    distributed = hasattr(config, "workerinput") or config.getoption("dist", "no") != "no"
    return config.pluginmanager.hasplugin("pytest-benchmark") and not distributed


def _enter(item: pytest.Item) -> None:
    from kdbench.testing.replay import REPLAY, Replay

    replay = item.stash[REPLAY] = Replay()
    own = item.get_closest_marker("benchmark")
    # The closest marker is the only one that pytest-benchmark reads: ours holds what the test's own says.
    item.add_marker(pytest.mark.benchmark(**{**(own.kwargs if own else {}), "timer": replay}), append=False)
    names = getattr(item, "fixturenames")  # noqa: B009 - of items that have fixtures only
    if "benchmark" not in names:
        names.append("benchmark")


@contextmanager
def timed_alone(item: pytest.Item) -> Iterator[None]:
    """Hold the machine for a test that is timed, from before its fixtures are made until they are gone."""
    if not (benchmarking(item.config) and fixtures_of(item)):
        yield
        return
    from kdbench.testing.alone import alone

    with alone(item.config):
        yield
