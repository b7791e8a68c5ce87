"""What is not installed is named, with the line that installs it; nothing is fetched."""

import json

import pytest

from kdbench.errors import InputError
from kdbench.measure.admission import require_runtimes
from kdbench.progress import Silent
from kdbench.recipe import Measure
from kdbench.worker.web import installed


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "node_modules" / "onnxruntime-web"
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"version": "1.2.3"}))
    return folder


@pytest.mark.parametrize("runtime", ["onnxruntime-web", "onnxruntime-web-node"])
def test_without_the_package_the_command_says_how_to_install_it(runtime, tmp_path, monkeypatch):
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "a cache"))
    with pytest.raises(InputError) as refused:
        require_runtimes(Measure(runtime=(runtime,)), Silent())
    assert f"npm install --prefix '{tmp_path}/a cache/npm' onnxruntime-web" in refused.value.hint
    assert not (tmp_path / "a cache").exists()


def test_the_package_is_the_named_one_or_that_in_the_cache(package, tmp_path, monkeypatch):
    monkeypatch.setenv("KDBENCH_ONNXRUNTIME_WEB", str(package))
    assert installed.package() == package
    assert installed.version(package) == "1.2.3"
    monkeypatch.delenv("KDBENCH_ONNXRUNTIME_WEB")
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "npm").mkdir()
    (tmp_path / "cache" / "npm" / "node_modules").symlink_to(package.parent)
    assert installed.package().resolve() == package


def test_a_folder_of_something_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("KDBENCH_ONNXRUNTIME_WEB", str(tmp_path))
    with pytest.raises(InputError, match="is not the folder of the npm package"):
        installed.package()


@pytest.mark.parametrize(("program", "variable"), [("chromium", "KDBENCH_CHROMIUM"), ("node", "KDBENCH_NODE")])
def test_a_program_is_the_named_one_or_that_on_the_path(program, variable, package, tmp_path, monkeypatch):
    monkeypatch.setenv("KDBENCH_ONNXRUNTIME_WEB", str(package))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="is not installed") as refused:
        installed.require(program)
    assert "apt install" in refused.value.hint
    assert variable in refused.value.hint
    explicit = tmp_path / "explicit"
    explicit.write_text("#!/bin/sh\n")
    monkeypatch.setenv(variable, str(explicit))
    with pytest.raises(InputError, match="which is not a program"):
        installed.program_path(program)
    explicit.chmod(0o755)
    assert installed.program_path(program) == str(explicit)
