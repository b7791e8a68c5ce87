"""`pytest --benchmark` and the fixture `kdbench`: pytest's side of `kdbench.testing`.

pytest loads this module in every project of the environment. What it costs there is an option group and a look at the
names of each test's fixtures; numpy, pydantic and all that measures are loaded when a test asks for `kdbench`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from kdbench.testing import selection, settings
from kdbench.testing.gathering import Gathering

if TYPE_CHECKING:
    from kdbench.testing.bench import Bench


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options."""
    settings.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Gather bounds in the process that was started; xdist's workers send it theirs with their reports."""
    if not settings.on_worker(config):
        if settings.any_given(config):
            settings.Settings.of(config)  # an option that cannot be read is told before anything is collected
        config.pluginmanager.register(Gathering(), "kdbench-gathering")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell one of xdist's workers which folder is the session's."""
    node.workerinput[settings.SESSION] = settings.session_name(node.config)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose the benchmark tests, before pytest-benchmark looks at them."""
    selection.select(config, items)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let a timed test have the machine to itself; outermost, so that nobody's time limit runs while it waits."""
    with selection.timed_alone(item):
        return (yield)


@pytest.fixture
def kdbench(request: pytest.FixtureRequest) -> "Iterator[Bench]":
    """Measure ONNX models and hold bounds: `kdbench.model("student.onnx", data="cifar10").top1.at_least("90 %")`.

    Also `kdbench.ratio(teacher=…, student=…).at_least(3)`, `kdbench.ready(run, target=…)` and
    `kdbench.compare(base, new).no_regression()`. Bounds are judged by `pytest --benchmark`; without it every model is
    called once.
    """
    from kdbench.testing.bench import Bench

    benchmark = request.getfixturevalue("benchmark") if "benchmark" in request.fixturenames else None
    bench = Bench(request.node)
    yield bench
    if benchmark is not None:
        bench.finish(benchmark)
