"""The modules of kdbench that a program needs, determined from their imports: a bundle includes them."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from kdbench.installation import package_folder

_ROOT = package_folder().parent
_PREFIX = "kdbench."
_BUILT = f"{_PREFIX}_version"  # a file only where the package was built


def closure(modules: Iterable[str]) -> dict[str, Path]:
    """Return the files of `modules` and of every module of kdbench that they import, by path within a folder.

    The packages that they are in count too. An import within a function counts; one for type checkers alone does not.
    """
    files: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        file = _file_of(module)
        name = file.relative_to(_ROOT).as_posix()
        if name in files or (module == _BUILT and not file.is_file()):
            continue
        files[name] = file
        waiting += [imported for imported in _imports(file) if imported.startswith(_PREFIX)]
        waiting += [parent] if (parent := module.rpartition(".")[0]) else []
    return dict(sorted(files.items()))


def modules_in(package: str) -> list[str]:
    """Return the modules in a package of kdbench, packages in it left out."""
    folder = _file_of(package).parent
    return [f"{package}.{file.stem}" for file in sorted(folder.glob("*.py")) if file.stem != "__init__"]


def _file_of(module: str) -> Path:
    path = _ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imports(file: Path) -> Iterator[str]:
    """Yield the modules that a file imports, by absolute name."""
    skipped: set[int] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped |= {id(inner) for statement in node.body for inner in ast.walk(statement)}
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = inner.startswith(_PREFIX) and _file_of(inner).is_file()
                yield inner if is_module else node.module
