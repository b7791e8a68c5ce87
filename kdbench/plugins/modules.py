"""Modules of user code: imported once, and again when their source has changed."""

import importlib
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.plugins import search
from kdbench.plugins.calling import describe_failure
from kdbench.plugins.local_imports import local_files
from kdbench.plugins.opened_files import opening
from kdbench.registry import Registry


@dataclass(frozen=True)
class ImportedModule:
    """The state of a module when it was imported: hashes of its source and its local imports, and the files it read."""

    file: Path
    sources: dict[Path, str]  # SHA-256
    opened: frozenset[Path]

    @property
    def is_current(self) -> bool:
        """Whether the sources are unchanged."""
        return all(file.is_file() and storage.sha256(file) == sha256 for file, sha256 in self.sources.items())


_IMPORTED: dict[str, ImportedModule] = {}  # by module name


def activate(plugins: Sequence[str], folder: str | None) -> tuple[str, ...]:
    """Import a recipe's `plugins`, and search modules in its `folder` from now on; return the plug-ins' module names.

    A plug-in is a file (`./mynets.py`), a package's folder, or a module. A module whose source has changed since its
    import is removed, with everything that it registered, and imported again. Raises InputError for a plug-in that
    cannot be imported.
    """
    base = [] if folder is None else [Path(folder)]
    search.set_folders(tuple(base))
    located = [_located(plugin) for plugin in plugins]
    search.set_folders((*base, *(parent for _, parent in located if parent is not None)))
    for name, module in list(_IMPORTED.items()):
        if not module.is_current or search.source_of(name) != module.file:
            _forget(name)
    for name, _ in located:
        import_module(name, f"the plug-in {name!r}")
    return tuple(name for name, _ in located)


def names_file(plugin: str) -> bool:
    """Return whether a plug-in is the path of a file or of a package's folder, not the name of a module."""
    return plugin.endswith(".py") or "/" in plugin


def import_module(name: str, subject: str) -> ModuleType:
    """Import a module by its dotted name, from the recipe's folders or from Python's path, and return it.

    Raises InputError, about `subject`, if there is no such module, if it fails, or if an installed module has its name.
    """
    if not all(name.split(".")) or "\0" in name:
        raise InputError(f"{subject} is not the name of a module", "write it as package.module, or as ./file.py")
    file = search.file_of(name)
    if file is not None:
        source = file.resolve()
        _require_free(name, file, subject)
        _forget_other_package(name, file)
        loaded = sys.modules.get(name)
        if loaded is not None and search.source_file(loaded) != source:
            _forget(name)
        elif loaded is not None and name not in _IMPORTED:  # the user's program imported it
            _IMPORTED[name] = ImportedModule(source, _hashed(source), frozenset())
    if name in sys.modules:
        return sys.modules[name]
    with search.importable(), opening() as opened:
        importlib.invalidate_caches()
        module = _import(name, subject)
    if file is not None:
        _IMPORTED[name] = ImportedModule(source, _hashed(source), frozenset(opened))
        add_imports([name], opened)
        search.keep_importable(file.parents[len(name.split(".")) - (file.name != "__init__.py")])
    return module


def opened_by(name: str) -> frozenset[Path]:
    """Return the files that a module and its local imports read when they were imported."""
    if name not in _IMPORTED:
        return frozenset()
    files = _IMPORTED[name].sources
    return frozenset().union(*(module.opened for module in _IMPORTED.values() if module.file in files))


def add_imports(names: Iterable[str], files: Iterable[Path]) -> None:
    """Add the sources among `files` to modules that imported them under names computed at run time."""
    sources = {file: storage.sha256(file) for file in files if file.suffix == ".py" and file.is_file()}
    for name in _IMPORTED.keys() & set(names) if sources else ():
        module = _IMPORTED[name]
        _IMPORTED[name] = replace(module, sources={**sources, **module.sources})


def is_imported_by(plugins: Sequence[str], module: str) -> bool:
    """Return whether `module` is imported in every process that loads these plug-ins, or installed."""
    file = search.source_file(sys.modules.get(module))
    if module == "__main__" or file is None:
        return False
    names = {Path(plugin).stem if names_file(plugin) else plugin for plugin in plugins}
    sources = {path for name in names & _IMPORTED.keys() for path in _IMPORTED[name].sources}
    return module in names or file in sources or not search.is_local(file)


def _hashed(file: Path) -> dict[Path, str]:
    return {path: storage.sha256(path) for path in local_files(file)}


def _forget(name: str) -> None:
    """Remove a module, its local imports and everything that they registered; the next import runs them again."""
    stale, loaded = _IMPORTED.pop(name, None), search.source_file(sys.modules.get(name))
    files = set(stale.sources) if stale is not None else set()
    files |= set(local_files(loaded)) if loaded is not None else set()
    for other, module in list(sys.modules.items()):
        if other == name or (other != "__main__" and search.source_file(module) in files):
            sys.modules.pop(other, None)
            _IMPORTED.pop(other, None)
            Registry.forget(other)


def _forget_other_package(name: str, file: Path) -> None:
    """Remove a loaded package that has the same name as the package of `file` but another folder."""
    top, _, rest = name.partition(".")
    if rest and top in sys.modules:
        folder = file.parents[name.count(".") - (file.name != "__init__.py")]
        if str(folder) not in [str(Path(path).resolve()) for path in getattr(sys.modules[top], "__path__", ())]:
            for other in [other for other in sys.modules if other == top or other.startswith(f"{top}.")]:
                _forget(other)


def _require_free(name: str, file: Path, subject: str) -> None:
    """Raise InputError if a file has the name of a module of Python's, or of an installed module that is loaded."""
    top = name.partition(".")[0]
    loaded = search.source_file(sys.modules.get(top))
    if top in sys.stdlib_module_names or (loaded is not None and not search.is_local(loaded)):
        message = f"{subject}: {file} has the name of another module, {top!r}, which is in use"
        raise InputError(message, "rename the file")


def _located(plugin: str) -> tuple[str, Path | None]:
    """Return the module name of a plug-in, and its folder if it is a file; raises InputError for a missing file."""
    if not names_file(plugin):
        return plugin, None
    path = storage.with_home(plugin)
    candidates = [path] if path.is_absolute() else [folder / path for folder in search.folders()]
    file = next((candidate for candidate in candidates if candidate.exists()), None)
    if file is None:
        raise InputError(f"plugins: there is no {candidates[0]}", "a path is relative to the recipe's file")
    name = file.stem
    if not re.fullmatch(r"[^\W\d]\w*", name):
        hint = f"rename it, for example to {re.sub(r'[^0-9A-Za-z]', '_', name).lstrip('0123456789') or 'plugin'}.py"
        raise InputError(f"plugins: {file.name} is not a valid module name", hint)
    return name, file.parent.resolve()


def _import(name: str, subject: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(f"{missing}."):
            top, places = missing.partition(".")[0], " or ".join(str(folder) for folder in search.folders())
            hint = f"run kdbench in the folder that holds {top}, or install it; searched: {places}"
            raise InputError(f"{subject}: there is no module {missing!r}", hint) from None
        hint = f"install {missing.partition('.')[0]} where kdbench is installed"
        raise InputError(f"{subject}: {name} imports {missing!r}, which is missing", hint) from error
    except InputError as error:
        raise InputError(f"{subject}: {error.message}", error.hint) from error
    except (Exception, SystemExit) as error:  # the module is user code
        hint = f"check that `python -c 'import {name}'` works; in a script, put the work under `if __name__ == …`"
        raise InputError(f"{subject}: importing {name} failed: {describe_failure(error)}", hint) from error
