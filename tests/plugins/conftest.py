"""A recipe's folder with modules of user code, which no other test sees."""

import sys
from textwrap import dedent

import pytest

from kdbench.plugins import activate, modules, search
from kdbench.registry import Registry


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a recipe, active; the working directory is another one."""
    study, working = tmp_path / "study", tmp_path / "working"
    study.mkdir()
    working.mkdir()
    monkeypatch.chdir(working)
    before, path = set(sys.modules), list(sys.path)
    activate((), str(study))
    yield study
    sys.path[:] = path
    search.set_folders(())
    for name in set(sys.modules) - before:
        if (file := search.source_file(sys.modules[name])) is not None and file.is_relative_to(tmp_path):
            del sys.modules[name]
            modules._IMPORTED.pop(name, None)
            Registry.forget(name)


@pytest.fixture
def write(folder):
    """Write a module of the recipe's folder."""

    def write(name, source):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(source))
        return path

    return write
