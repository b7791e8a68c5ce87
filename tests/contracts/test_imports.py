"""What an import costs is a feature: these modules stay free of what they do not need."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import kdbench

HEAVY = {"torch", "torchvision", "lightning_fabric", "onnx", "onnxruntime", "sklearn", "matplotlib", "scipy", "fvcore"}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("kdbench", HEAVY | {"numpy", "pydantic", "typer", "rich"}),
        ("kdbench.cli.application", HEAVY | {"numpy", "pydantic", "rich", "jinja2"}),
        ("kdbench.recipe", HEAVY | {"numpy", "typer", "rich"}),
        ("kdbench.results.records", HEAVY | {"numpy", "typer", "rich"}),
        ("kdbench.machine.fingerprint", HEAVY | {"typer", "rich"}),
        ("kdbench.data", HEAVY),
        ("kdbench.models", HEAVY),
        ("kdbench.report", HEAVY),
        ("kdbench.report.render.terminal", HEAVY),
        ("kdbench.workflows.sweep", {"lightning_fabric", "onnx_ir", "sympy"}),  # the last with torch's compiler
    ],
)
def test_importing_loads_nothing_it_does_not_need(module, unwanted):
    assert not _loaded_by(f"import {module}") & unwanted


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], HEAVY | {"numpy", "pydantic", "rich", "typer", "inspect"}),
        (["--version"], HEAVY | {"numpy", "pydantic", "rich", "typer", "inspect"}),
        (["bench", "--help"], HEAVY | {"numpy", "rich"}),  # typer itself may load pydantic for list options
    ],
)
def test_help_loads_nothing_heavy(arguments, unwanted):
    assert not _loaded_by(f"from kdbench.cli.main import main; main({arguments})") & unwanted


def test_public_names_are_imported_when_they_are_used():
    loaded = _loaded_by("import kdbench; kdbench.load_recipe")
    assert "pydantic" in loaded
    assert "torch" not in loaded


def test_no_module_imports_the_package_at_the_top():
    """`kdbench/__init__.py` offers what lies below it; a module that imported it would import upward."""
    root = Path(kdbench.__file__).parent
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert "kdbench" not in [alias.name for alias in node.names], file
            elif isinstance(node, ast.ImportFrom) and node.module == "kdbench":
                for alias in node.names:
                    assert (root / f"{alias.name}.py").exists() or (root / alias.name).is_dir(), (file, alias.name)


def test_a_type_checker_knows_every_public_name():
    tree = ast.parse(Path(kdbench.__file__).read_text(encoding="utf-8"))
    (typed,) = (node for node in tree.body if isinstance(node, ast.If))
    declared = {
        (alias.name, node.module) for node in typed.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert declared == set(kdbench._MODULES.items())
    assert {name for name, _ in declared} | {"__version__"} == set(kdbench.__all__)
    for name in kdbench.__all__:
        getattr(kdbench, name)


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = kdbench.nothing


def _loaded_by(program: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after running `program`."""
    end = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    ended = subprocess.run([sys.executable, "-c", f"{program}\n{end}"], capture_output=True, text=True, check=True)
    return set(json.loads(ended.stdout.splitlines()[-1]))
