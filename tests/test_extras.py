"""Extras: the table is pyproject.toml's, and a missing library is named with the line that installs it."""

import ast
import re
import sys
import tomllib
from importlib import invalidate_caches
from pathlib import Path
from types import SimpleNamespace

import pytest

from kdbench.errors import EXIT_BAD_INPUT
from kdbench.extras import (
    EXTRAS,
    Extra,
    MissingExtraError,
    install,
    missing,
    missing_extra_error,
    replace,
    require,
    require_all,
)

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
FOR_DEVELOPERS = {"dev", "docs", "bench"}
APART = {"cluster", "slurm"}  # of use on a cluster alone


def names(requirements):
    return {re.split(r"[\s\[;<>=!~]", line)[0] for line in requirements}


def test_the_table_is_that_of_the_package():
    declared = {name: names(lines) for name, lines in PROJECT["optional-dependencies"].items()}
    assert {name: set(extra.libraries.values()) for name, extra in EXTRAS.items()} == {
        name: libraries for name, libraries in declared.items() if name not in FOR_DEVELOPERS | {"all"}
    }


def test_every_library_that_is_imported_is_declared():
    """Other libraries may be missing where it is imported, although it is installed beside those of developers."""
    imported = set()
    for path in (Path(__file__).parents[1] / "kdbench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    declared = {module for extra in EXTRAS.values() for module in extra.libraries}
    plain = {"pillow": "PIL", "tomli-w": "tomli_w", "nvidia-ml-py": "pynvml"}
    declared |= {plain.get(name, name) for name in names(PROJECT["dependencies"])}
    installed_with = {"_pytest", "google", "markupsafe", "pydantic_core", "typing_extensions"}  # with one of those
    callers = {"IPython", "litert_torch"}  # used where the caller's own program has them
    assert imported - sys.stdlib_module_names - declared - installed_with - callers == {"kdbench"}


def test_all_are_all():
    (everything,) = PROJECT["optional-dependencies"]["all"]
    assert everything == f"kdbench[{','.join(sorted(EXTRAS.keys() - APART))}]"


def test_the_plain_installation_has_none_of_them():
    optional = {library for name, extra in EXTRAS.items() if name != "gpu" for library in extra.libraries.values()}
    assert not names(PROJECT["dependencies"]) & optional


def test_a_missing_library_is_the_users_to_install(monkeypatch):
    monkeypatch.setattr("kdbench.extras._installed", lambda module: module not in {"torch", "fvcore"})
    assert missing("train") == ["torch", "fvcore"]
    with pytest.raises(MissingExtraError) as error:
        require("train", "kdbench run")
    assert error.value.message == "kdbench run needs torch, fvcore, which are not installed"
    assert error.value.hint == install("train")
    assert error.value.exit_code == EXIT_BAD_INPUT
    require("estimate", "--estimate-energy")


def test_a_folder_that_is_called_like_a_library_is_none(tmp_path, monkeypatch):
    (tmp_path / "tracked").mkdir()
    monkeypatch.setitem(EXTRAS, "wandb", Extra("--log wandb", {"tracked": "tracked"}))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert missing("wandb") == ["tracked"]
    (tmp_path / "tracked" / "__init__.py").touch()
    invalidate_caches()
    assert missing("wandb") == []


def test_all_missing_extras_are_installed_by_one_line(monkeypatch):
    monkeypatch.setattr("kdbench.extras._installed", lambda module: module not in {"torch", "optuna"})
    with pytest.raises(MissingExtraError) as error:
        require_all(["train", "estimate", "search", "train"], "kdbench sweep")
    assert error.value.message == "kdbench sweep needs torch, optuna, which are not installed"
    assert error.value.hint == install("train", "search")
    require_all(["estimate"], "--estimate-energy")


@pytest.mark.parametrize(
    ("programs", "has_pip", "command"),
    [
        (["env/bin/pip", "other/uv"], True, "pip install"),
        (["other/pip", "other/uv"], True, "{env}/bin/python -m pip install"),
        (["other/pip", "other/uv"], False, "uv pip install --python {env}/bin/python"),
        ([], False, "pip install"),
    ],
    ids=["activated", "not activated", "of uv", "neither"],
)
def test_the_line_installs_into_this_environment(tmp_path, monkeypatch, programs, has_pip, command):
    for name in programs:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/env/bin:{tmp_path}/other")
    monkeypatch.setattr("sys.executable", f"{tmp_path}/env/bin/python")
    monkeypatch.setattr("kdbench.extras.PathFinder", SimpleNamespace(find_spec=lambda _: has_pip or None))
    command = command.format(env=tmp_path / "env")
    assert install("train") == f"{command} 'kdbench[train]'"
    removal = command.replace("pip install", "pip uninstall") + ("" if command.startswith("uv") else " -y")
    assert (
        replace("onnxruntime", "onnxruntime-gpu[cuda]") == f"{removal} onnxruntime && {command} 'onnxruntime-gpu[cuda]'"
    )


def test_the_search_for_pip_does_not_reach_setuptools(monkeypatch):
    names = []
    finder = SimpleNamespace(find_spec=lambda name, *_: names.append(name))
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    monkeypatch.setenv("PATH", "")
    install("train")
    assert "pip" not in names


@pytest.mark.parametrize(
    ("module", "extra"), [("torch", "train"), ("lightning_fabric.utilities", "train"), ("codecarbon", "estimate")]
)
def test_a_failed_import_names_its_extra(monkeypatch, module, extra):
    monkeypatch.setattr("kdbench.extras._installed", lambda _: False)
    assert missing_extra_error(ModuleNotFoundError(name=module), "it").hint == install(extra)


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError(name="nobodys"), ModuleNotFoundError(), ImportError(name="torch")]
)
def test_another_failure_is_not_explained(error):
    assert missing_extra_error(error, "it") is None


def test_what_is_blocked_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert missing("timm") == ["timm"]
