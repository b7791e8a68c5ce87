"""The files that code reads while it runs, as Python's audit events name them."""

import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from kdbench.plugins.search import is_local, is_own

_OPENED: ContextVar[set[str] | None] = ContextVar("_OPENED", default=None)
_SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/")
_CALLERS = ("plugins/calling.py", "models/__init__.py")  # where kdbench calls user code
_hooked = False


@contextmanager
def opening() -> Iterator[set[Path]]:
    """Yield a set that holds, after the block, the regular files that it read: no modules, none of Python's own.

    Only files that are opened through Python are seen. An outer block sees what an inner one sees.
    """
    global _hooked  # noqa: PLW0603 - an audit hook stays for the life of the process
    if not _hooked:
        sys.addaudithook(_hear)
        _hooked = True
    names: set[str] = set()
    outer, files = _OPENED.get(), set[Path]()
    token = _OPENED.set(names)
    try:
        yield files
    finally:
        _OPENED.reset(token)
        files |= {path for name in names if (path := _data_file(name)) is not None}
        if outer is not None:
            outer |= names


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or (names := _OPENED.get(None)) is None:
        return
    name, mode, flags = arguments
    reads = not flags & (os.O_WRONLY | os.O_RDWR) if mode is None else "r" in mode and "+" not in mode
    if reads and isinstance(name, str | bytes | os.PathLike) and _is_of_users_code():
        names.add(os.path.abspath(os.fsdecode(name)))  # noqa: PTH100 - cheap, and the working directory may change


def _is_of_users_code() -> bool:
    """Return whether user code reads, not kdbench or the import of a library (matplotlib then reads its settings).

    What a library reads when it is imported depends on what the process did before.
    """
    frame = inspect.currentframe()
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib"):
            return False
        if is_own(file) and file != __file__:
            return file.endswith(_CALLERS)
        if not is_own(file) and is_local(file):
            return True
        frame = frame.f_back
    return True


def _data_file(name: str) -> Path | None:
    if name.startswith(_SYSTEM) or name.endswith((".pyc", ".so")):
        return None
    path = Path(name).resolve()
    return path if path.is_file() and is_local(path) and not is_module(path) else None


def is_module(path: Path) -> bool:
    """Return whether `path` is the source of an imported module, not a script that code runs as it reads data."""
    if path.suffix != ".py":
        return False
    files = (getattr(module, "__file__", None) for module in [*sys.modules.values()])
    return any(isinstance(file, str) and is_local(file) and Path(file).resolve() == path for file in files)
