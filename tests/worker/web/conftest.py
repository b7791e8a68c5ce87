"""The npm package and the programs, where they are installed; engines that tests share."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from kdbench.worker.web.engine import Engine

# Read before the tests' environment is emptied.
_MODULES = os.environ.get("KDBENCH_NODE_MODULES", "")
_PACKAGE = Path(os.environ.get("KDBENCH_ONNXRUNTIME_WEB") or Path(_MODULES) / "onnxruntime-web")


def _require(program: str) -> None:
    if not (_PACKAGE / "dist").is_dir():
        pytest.skip("KDBENCH_NODE_MODULES names no node_modules folder with onnxruntime-web")
    names = {"node": ["node"], "chromium": ["chromium", "chromium-browser", "google-chrome"]}[program]
    if not any(map(shutil.which, names)):
        pytest.skip(f"{program} is not installed")


@pytest.fixture(autouse=True)
def _unsettled(monkeypatch):
    """Do not wait for the last compilation, which takes seconds: `test_settling` tests the waiting."""
    monkeypatch.setattr("kdbench.worker.web.settling.QUIET_S", 0.0)


@pytest.fixture
def web_package(monkeypatch):
    """The folder of the npm package, which the environment names."""
    _require("node")
    monkeypatch.setenv("KDBENCH_ONNXRUNTIME_WEB", str(_PACKAGE))
    return _PACKAGE


@pytest.fixture(scope="module")
def started():
    """Return engines of (program, threads, isolated), each started once a module."""
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("KDBENCH_ONNXRUNTIME_WEB", str(_PACKAGE))
        engines: dict[tuple[str, int, bool], Engine] = {}

        def start(program: str, threads: int = 1, *, isolated: bool = True) -> Engine:
            _require(program)
            key = (program, threads, isolated)
            if key not in engines:
                patch.setenv("KDBENCH_ONNXRUNTIME_WEB", str(_PACKAGE))
                engines[key] = Engine(program, threads, isolated=isolated)
                stack.callback(engines[key].close)
            return engines[key]

        yield start
