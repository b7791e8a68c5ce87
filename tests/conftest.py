"""What all tests share: real data where there is some, and an environment free of the user's settings."""

import atexit
import gc
import itertools
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["pytester", "model_files", "short_runs"]  # the first for tests of the plug-in, the others lie here
collect_ignore = ["sample_project"]  # a project of its own, which such a test runs

# Tests run beside other work, and more threads would only compete for the cores. torch reads this when it loads.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
# Nor should they spin while others work, or look at the machine's load to decide that, and note it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# matplotlib's table of fonts takes a second to make: it is shared, regardless of a test's cache folder.
os.environ.setdefault("MPLCONFIGDIR", str(Path.home() / ".cache/matplotlib"))
TESTS = Path(__file__).parent
_CACHES = itertools.count()

# The same code gets the same examples, so that a change fails by what it changed. HYPOTHESIS_PROFILE=default looks for
# new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# Read before `_isolated` takes the variables away from the tests.
_LOCKS = "KDBENCH_LOCK_DIR"
_DATA_ROOT = os.environ.get("KDBENCH_DATA")
_FOREIGN_MODELS = os.environ.get("KDBENCH_MODELS")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let every parallel worker begin with another folder.

    In a fresh environment the worker that imports a module first also compiles it: the others find its bytecode.
    """
    report = yield
    if "PYTEST_XDIST_WORKER" in os.environ and collector.path == TESTS:
        number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
        start = number * len(report.result) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        report.result[:] = report.result[start:] + report.result[:start]
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let parallel runs begin with the files that have slow tests: if one began last, a core would wait for it."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: (item.path not in slow, item.path))


def pytest_collection_finish() -> None:
    """Keep Python's search for reference cycles out of what stays anyway: test items and imported libraries.

    There are millions of these objects, and tests that export networks make it walk through them every few seconds.
    """
    gc.freeze()
    atexit.register(gc.unfreeze)  # libraries that report their leaks at the end would report all they made
    gc.set_threshold(10_000, *gc.get_threshold()[1:])


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets; the tests that need one skip where there is none."""
    return _folder("KDBENCH_DATA", _DATA_ROOT, "the folder that holds MNIST/, cifar-10-batches-py/, …")


@pytest.fixture(scope="session")
def foreign_models() -> Path:
    """The folder of ONNX files that kdbench did not make."""
    return _folder("KDBENCH_MODELS", _FOREIGN_MODELS, "a folder with resnet20_cifar10.onnx and mnist8.onnx")


def _folder(variable: str, value: str | None, what: str) -> Path:
    if not value:
        pytest.skip(f"{variable} is not set; set it to {what}")
    folder = Path(value)
    assert folder.is_dir(), f"{variable} names {folder}, which is no folder"
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_lock_and_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests from waiting for a measurement that somebody else runs meanwhile, and from the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_LOCKS, str(tmp_path_factory.mktemp("locks")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))  # of fixtures that tests share
        yield


@pytest.fixture(autouse=True)
def _all_cores() -> Iterator[None]:
    """Give the test's process its cores back: probes that run in it keep to one."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    yield
    if before is not None and os.sched_getaffinity(0) != before:
        os.sched_setaffinity(0, before)


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's settings out of the tests: none of kdbench's variables, no colours, a known width.

    The intervals of a run depend on the earlier runs in the cache, so every test has an empty one.
    """
    for name in [name for name in os.environ if name.startswith("KDBENCH_") and name != _LOCKS]:
        monkeypatch.delenv(name)
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "PYTHONWARNINGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / f"cache-{next(_CACHES)}"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(scope="session", autouse=True)
def _one_process() -> Iterator[None]:
    """Take one fresh process where cold start and memory take several for their medians: these are tested alone."""
    with pytest.MonkeyPatch.context() as patch:
        for measured in ("cold_start", "memory"):
            patch.setattr(f"kdbench.measure.passes.{measured}.PROCESSES", 1)
        yield
