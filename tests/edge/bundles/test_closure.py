"""What a bundle takes along: the package's own files, all that they import, and nothing that a device lacks."""

import ast
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

import kdbench
from kdbench.edge.bundles.bundle import program
from kdbench.edge.bundles.closure import closure, modules_in

SESSIONS = "kdbench.measure.latency.sessions"


def test_the_closure_has_what_is_imported_anywhere_in_a_file_and_the_packages_around_it():
    files = closure([SESSIONS])
    assert {"kdbench/__init__.py", "kdbench/measure/__init__.py", "kdbench/measure/latency/sessions.py"} <= files.keys()
    assert "kdbench/statistics/special.py" in files  # by way of the package that re-exports it
    assert "kdbench/processes/children.py" in files
    assert "kdbench/recipe/tables/measure.py" not in files  # nothing needs it
    assert "kdbench/meters/rapl.py" not in files


def test_a_device_has_the_version_that_a_build_wrote(monkeypatch, tmp_path):
    (tmp_path / "kdbench").mkdir()
    (tmp_path / "kdbench" / "__init__.py").write_text("from kdbench.installation import __version__\n")
    (tmp_path / "kdbench" / "installation.py").write_text("from kdbench._version import __version__\n")
    monkeypatch.setattr("kdbench.edge.bundles.closure._ROOT", tmp_path)
    never_built = {"kdbench/__init__.py", "kdbench/installation.py"}
    assert closure(["kdbench"]).keys() == never_built
    (tmp_path / "kdbench" / "_version.py").touch()
    assert closure(["kdbench"]).keys() == never_built | {"kdbench/_version.py"}


def test_modules_of_a_package_are_its_files():
    assert "kdbench.meters.rapl" in modules_in("kdbench.meters")
    assert "kdbench.meters" not in modules_in("kdbench.meters")


def test_a_device_gets_files_that_python_3_9_runs():
    """vermin has the Python version of each syntax and standard name; annotations are never evaluated."""
    vermin = pytest.importorskip("vermin")
    config = vermin.Config()
    for name, file in program().items():
        visited = vermin.visit(file.read_text(encoding="utf-8"), config)
        (_, least) = visited.minimum_versions()
        assert least is None or least <= (3, 9), name


def test_every_file_of_a_device_is_linted_for_python_3_9():
    """ruff refuses newer syntax and types that are read at run time, in the files that pyproject.toml names."""
    root = Path(kdbench.__file__).parent.parent
    declared = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = declared["tool"]["ruff"]["per-file-target-version"]
    expanded = [one for pattern in patterns for one in _alternatives(pattern)]
    code = [str(file.relative_to(root)) for file in program().values() if file.read_text().count("\n") > 12]
    unlisted = [name for name in code if not any(fnmatch(name, pattern) for pattern in expanded)]
    assert not unlisted


def test_what_a_device_imports_is_numpy_and_its_runtime():
    heavy = {"pydantic", "scipy", "onnx", "torch", "safetensors", "typer", "rich", "jinja2", "platformdirs"}
    for name, file in program().items():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in top if isinstance(node, ast.ImportFrom)}
        assert not heavy & {one.partition(".")[0] for one in names}, name


def _alternatives(pattern: str) -> list[str]:
    before, brace, rest = pattern.partition("{")
    inner, _, after = rest.partition("}")
    return [f"{before}{one}{after}" for one in inner.split(",")] if brace else [pattern]
