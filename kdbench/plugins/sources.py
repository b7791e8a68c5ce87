"""The sources of user code and their hashes: if one changes, the models that it trained are trained again."""

import functools
import inspect
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from kdbench.files import storage
from kdbench.plugins import search
from kdbench.plugins.local_imports import literals, local_files
from kdbench.plugins.modules import opened_by
from kdbench.plugins.objects import described_objects
from kdbench.plugins.opened_files import is_module
from kdbench.plugins.recording import Recording


class Source(NamedTuple):
    """A file of code or data, by its name and its SHA-256.

    The name of installed code is its distribution and version, that of code without a file, such as a notebook's,
    `__main__:NAME`.
    """

    name: str
    sha256: str


def located_sources(recorded: Recording, options: Sequence[Any] = ()) -> dict[Source, Path | None]:
    """Return the sources of the recorded user code, each with its file; none if no user code ran.

    They are the modules that define or register it, their local imports, the files that these read or name in a text
    constant, and the files that `options` name. The file is None for code without one and for installed code.
    """
    sources: dict[Source, Path | None] = {}
    files = dict.fromkeys(recorded.opened)
    for use in recorded.uses:
        modules = [use.module, _module_of(use.entry)]
        for name in dict.fromkeys(module for module in modules if module):
            files |= dict.fromkeys(opened_by(name))
            of_module, without_file = _of_module(name, use.entry)
            files |= dict.fromkeys(of_module)
            sources |= dict.fromkeys(without_file)
    if not recorded.uses:
        return {}
    files |= {path: None for option in options for path in _named_files(option)}
    hashed = {path: _sha256(path) for path in files if path.is_file()}
    sources |= {Source(name, hashed[path]): path for path, name in _names(hashed).items()}
    return dict(sorted(sources.items(), key=lambda item: item[0]))


def _names(hashed: Mapping[Path, str]) -> dict[Path, str]:
    """Return the names of files; if different files have the same name, with their path below a common folder.

    So swapping two such files changes the sources. The `__init__.py` of packages are distinguished by content alone.
    """
    by_name: dict[str, list[Path]] = {}
    for path in hashed:
        by_name.setdefault(path.name, []).append(path)
    names: dict[Path, str] = {}
    for name, paths in by_name.items():
        differ = name != "__init__.py" and len({hashed[path] for path in paths}) > 1
        common = Path(os.path.commonpath([path.parent for path in paths])) if differ else None
        names |= {path: name if common is None else path.relative_to(common).as_posix() for path in paths}
    return names


def _of_module(name: str, entry: Any) -> tuple[list[Path], list[Source]]:
    """Return the local files of a module that defines or registers `entry`, and the sources without a file."""
    module = sys.modules.get(name)
    file = search.source_file(module)
    if name == "__main__" or file is None:
        hashes, files = described_objects(entry)
        described = [Source(f"{name}:{label}", sha256) for label, sha256 in hashes]
        return [path for local in files for path in _of_file(local)], described
    if search.is_shipped_file(str(file)):
        return [], []
    if search.is_local(file):
        return list(_of_file(file)), []
    return [], [Source(_distribution(name), _sha256(file))]


def _of_file(file: Path) -> Iterator[Path]:
    for path in local_files(file):
        yield path
        for text in literals(path):
            yield from _named_files(text, path.parent)


def _module_of(entry: Any) -> str | None:
    named = inspect.unwrap(entry) if callable(entry) else entry
    return getattr(named, "__module__", None) or type(named).__module__


def _distribution(module: str) -> str:
    """Return the distribution that a module is from, with its version; the module's name if there is none."""
    package = module.partition(".")[0]
    names = _distributions().get(package, ())
    if not names and package not in sys.stdlib_module_names:  # perhaps it was installed meanwhile, as in a notebook
        _distributions.cache_clear()
        names = _distributions().get(package, ())
    try:
        return f"{names[0]} {metadata.version(names[0])}" if names else module
    except metadata.PackageNotFoundError:  # it was removed meanwhile
        return module


@functools.cache
def _distributions() -> Mapping[str, Sequence[str]]:
    """Return the distributions of each installed package; finding them reads the list of files of every one."""
    return metadata.packages_distributions()


def _named_files(value: Any, *folders: Path) -> Iterator[Path]:
    """Yield the existing files that a text, or a text in a table or list, names, and the files in folders it names."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _named_files(item, *folders)
    if not isinstance(value, str) or not 0 < len(value) < 400 or "\n" in value or not {".", "/"} & set(value):
        return
    for folder in (*folders, *search.folders()):
        try:
            path = folder / storage.with_home(value)
            if path.is_file() and not is_module(path.resolve()):
                yield path.resolve()
            elif path.is_dir() and not folders:
                yield from (file for file in path.rglob("*") if file.is_file())
        except (OSError, ValueError, RuntimeError):
            continue


def _sha256(path: Path) -> str:
    status = path.stat()
    return _hashed(path, status.st_mtime_ns, status.st_size)


@functools.cache
def _hashed(path: Path, _changed: int, _size: int) -> str:
    return storage.sha256(path)
