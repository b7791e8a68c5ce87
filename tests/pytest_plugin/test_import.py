"""pytest loads the plug-in in every project of the environment: what that costs is a feature."""

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "onnx", "onnxruntime", "numpy", "scipy", "pydantic", "rich", "typer", "filelock", "pytest_benchmark"}


@pytest.mark.parametrize("tests", ["", "def test_it(kdbench): pass"])
def test_the_plug_in_loads_nothing_heavy_before_a_test_asks_for_it(tmp_path, tests):
    (tmp_path / "test_it.py").write_text(tests)
    program = (
        "import json, sys, pytest; before = set(sys.modules); import kdbench.pytest_plugin as plugin\n"
        "plain = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        f"pytest.main(['-q', '--collect-only', '-p', 'no:benchmark', {str(tmp_path)!r}], plugins=PLUGINS)\n"
        "print(json.dumps([sorted(plain), sorted(name for name in sys.modules if name.startswith('kdbench'))]))"
    ).replace("PLUGINS", "[plugin] if not plugin_is_installed else []")
    program_start = "from importlib.metadata import entry_points\n"
    program_start += "plugin_is_installed = bool(list(entry_points(group='pytest11', name='kdbench')))\n"
    ended = subprocess.run([sys.executable, "-c", program_start + program], capture_output=True, text=True, check=True)
    plain, ours = json.loads(ended.stdout.splitlines()[-1])
    assert not HEAVY & set(plain)
    assert "kdbench.testing.fixture" not in ours
    assert "kdbench.results.records" not in ours
