"""`pytest --benchmark` and the fixture `kdbench`: pytest's hooks for `kdbench.testing`.

pytest loads this module in every project of the environment. There it only adds an option group and reads the names of
each test's fixtures; numpy, pydantic and the measuring code load when a test uses `kdbench`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from kdbench.testing import benchmarks, settings
from kdbench.testing.check_results import Summary

if TYPE_CHECKING:
    from kdbench.testing.fixture import Bench


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options."""
    settings.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Collect results in the main process; xdist's workers send theirs with their reports."""
    if not settings.on_worker(config):
        if settings.any_set(config):
            settings.Settings.of(config)  # an unreadable option is reported before anything is collected
        config.pluginmanager.register(Summary(config), "kdbench-summary")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Send the name of the session's folder to one of xdist's workers."""
    node.workerinput[settings.SESSION] = settings.session_name(node.config)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Select the benchmark tests, before pytest-benchmark sees them."""
    benchmarks.select(config, items)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run a timed test exclusively on the machine; outermost, so that no time limit runs while it waits."""
    with benchmarks.exclusive(item):
        return (yield)


@pytest.fixture
def kdbench(request: pytest.FixtureRequest) -> "Iterator[Bench]":
    """Measure ONNX models and check limits: `kdbench.model("student.onnx", data="cifar10").top1.at_least("90 %")`.

    Also `kdbench.ratio(teacher=…, student=…).at_least(3)`, `kdbench.ready(run, target=…)` and
    `kdbench.compare(base, new).no_regression()`. `pytest --benchmark` judges the limits; without it every model is
    called once.
    """
    from kdbench.testing.fixture import Bench

    benchmark = request.getfixturevalue("benchmark") if "benchmark" in request.fixturenames else None
    bench = Bench(request.node)
    yield bench
    if benchmark is not None:
        bench.finish(benchmark)
