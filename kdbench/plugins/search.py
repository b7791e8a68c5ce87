"""The folders in which user code is searched: the recipe's, those of plug-in files, the working directory."""

import contextlib
import functools
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

from kdbench.installation import package_folder

_FOLDERS: ContextVar[tuple[Path, ...]] = ContextVar("_FOLDERS", default=())
_STANDARD = tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")})
_INSTALLED = {"site-packages", "dist-packages"}
_PACKAGE = package_folder()
_ADDED: set[str] = set()  # to Python's path


def set_folders(folders: tuple[Path, ...]) -> None:
    """Search user code in `folders` first, from now on."""
    _FOLDERS.set(tuple(dict.fromkeys(folder.resolve() for folder in folders)))


def folders() -> tuple[Path, ...]:
    """Return the folders that are searched before Python's own, in order."""
    return tuple(dict.fromkeys((*_FOLDERS.get(), Path.cwd().resolve())))


@contextlib.contextmanager
def importable() -> Iterator[None]:
    """Search modules in the folders first while the block runs, and not in those that `keep_importable` added.

    Python prefers a module anywhere on its path to a package without `__init__.py`, so it would otherwise import the
    module of an earlier study instead.
    """
    texts = [str(folder) for folder in folders()]
    added = [path for path in sys.path if path in _ADDED]
    sys.path[:] = [*texts, *(path for path in sys.path if path not in _ADDED)]
    try:
        yield
    finally:
        for text in texts:
            with contextlib.suppress(ValueError):
                sys.path.remove(text)
        sys.path.extend(added)


def keep_importable(folder: Path) -> None:
    """Append a folder to Python's path, for imports within functions, which run later."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        _ADDED.add(str(folder))


def located(path: str) -> Path | None:
    """Return the file or folder at a relative path in the first of the folders that has it; None if none does."""
    try:
        candidates = (folder / path for folder in folders())
        return next((candidate for candidate in candidates if candidate.exists()), None)
    except (OSError, ValueError):
        return None


def with_paths(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of user code, with absolute paths in place of relative ones to existing files.

    A text without a dot or a slash is no path.
    """
    return {name: _with_path(value) for name, value in options.items()}


def _with_path(value: Any) -> Any:
    if not isinstance(value, str) or not {".", "/"} & set(value) or Path(value).is_absolute():
        return value
    path = located(value)
    return value if path is None or path == Path.cwd() / value else str(path)


def file_of(module: str) -> Path | None:
    """Return the source file of a module in the first of the folders that has it; None if none does."""
    relative = Path(*module.split("."))
    for folder in folders():
        for file in (folder / relative / "__init__.py", folder / relative.with_suffix(".py")):
            if file.is_file():
                return file
    return None


def source_of(module: str) -> Path | None:
    """Return the result of `file_of` with symbolic links resolved, as in `source_file`."""
    file = file_of(module)
    return None if file is None else file.resolve()


@functools.cache
def is_local(file: str | Path) -> bool:
    """Return whether a file is user code or data: neither installed nor part of Python or kdbench."""
    path = Path(file).resolve()
    return not (_INSTALLED & set(path.parts) or any(path.is_relative_to(folder) for folder in (*_STANDARD, _PACKAGE)))


@functools.cache
def is_shipped_file(file: str) -> bool:
    """Return whether a file is part of kdbench."""
    return Path(file).is_relative_to(_PACKAGE)


def source_file(module: ModuleType | None) -> Path | None:
    """Return the file that a module was imported from, if there is one."""
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file and file.endswith(".py") else None
