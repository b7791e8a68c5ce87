"""Paths in a recipe: relative to the recipe's file, or to the working directory if nothing is there."""

import os
from pathlib import Path

from kdbench.files.storage import with_home

_WITH_PATH = ("npz:", "folder:")  # data sets whose name holds a path


def located(path: str, folder: str | None) -> Path:
    """Return where `path` is: in `folder`, unless it exists only relative to the working directory.

    A path that exists in neither is one in `folder`, so that messages name the place where it belongs.
    """
    relative = with_home(path)
    if folder is None or relative.is_absolute() or Path(os.path.realpath(folder)) == Path.cwd():
        return relative
    in_folder = Path(folder) / relative
    return relative if relative.exists() and not in_folder.exists() else in_folder


def is_relative_data(name: str) -> bool:
    """Return whether a data set's name holds a path that depends on the working directory, as in `npz:test.npz`."""
    paths = (name.removeprefix(prefix) for prefix in _WITH_PATH if name.startswith(prefix))
    return any(not with_home(path).is_absolute() for path in paths)


def located_data(name: str, folder: str | None) -> str:
    """Return the name of a data set with the path in it located: `npz:PATH`, `folder:PATH`."""
    for prefix in _WITH_PATH:
        if name.startswith(prefix) and name != prefix:
            return f"{prefix}{located(name.removeprefix(prefix), folder)}"
    return name
