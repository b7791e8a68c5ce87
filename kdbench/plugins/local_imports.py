"""The local files that a module's code comes from: its source and, recursively, the local modules that it imports."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from kdbench.plugins import search


def local_files(file: Path) -> tuple[Path, ...]:
    """Return the source `file` and the sources of the local modules that it imports, recursively, sorted.

    Imports within functions count too. Modules are searched in the file's folder, in its package, and in the folders of
    the recipe. Modules whose names are computed at run time are not detected.
    """
    seen: set[Path] = set()
    waiting = [file.resolve()]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        waiting += _packages(path)
        waiting += [source for name in _imports(path) if (source := _file(name, path)) is not None]
    return tuple(sorted(seen))


def literals(file: Path) -> Iterator[str]:
    """Yield the text constants of a source file."""
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _tree(file: Path) -> ast.AST:
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return ast.Module(body=[], type_ignores=[])  # importing the module reports the error


def _imports(file: Path) -> Iterator[str]:
    """Yield the dotted names of the modules that a source imports, with a leading dot for each level if relative."""
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Import):
            for alias in node.names:  # `import a.b` runs a, too: `_packages`
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base
            separator = "" if base.endswith(".") else "."
            yield from (f"{base}{separator}{alias.name}" for alias in node.names if alias.name != "*")


def _file(name: str, importer: Path) -> Path | None:
    """Return the local source of the module called `name` in the source `importer`."""
    level = len(name) - len(name.lstrip("."))
    parts = [part for part in name.split(".") if part]
    if level:
        roots = [importer.parents[level - 1]] if level <= len(importer.parents) else []
    else:
        roots = [importer.parent, *(init.parent.parent for init in _packages(importer)[-1:]), *search.folders()]
    for root in roots:
        stem = root.joinpath(*parts)
        for candidate in (stem / "__init__.py", stem.with_suffix(".py") if parts else None):
            if candidate is not None and candidate.is_file() and search.is_local(candidate.resolve()):
                return candidate.resolve()
    loaded = None if level else search.source_file(sys.modules.get(name))
    return loaded if loaded is not None and search.is_local(loaded) else None


def _packages(file: Path) -> list[Path]:
    """Return the `__init__.py` of the packages that hold a source, the innermost first."""
    folder, packages = file.parent, []
    while (folder / "__init__.py").is_file():
        packages.append(folder / "__init__.py")
        folder = folder.parent
    return packages
