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
_hooked = False


@contextmanager
def opening() -> Iterator[set[Path]]:
    """Yield a set that holds, after the block, the regular files that it read: no code, none of Python's own.

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
    if reads and isinstance(name, str | os.PathLike) and not _is_of_an_import():
        names.add(os.path.abspath(name))  # noqa: PTH100 - cheap, and the working directory may change


def _is_of_an_import() -> bool:
    """Return whether the import of a library reads, as matplotlib its settings, rather than a user's code.

    What a library reads when it is imported depends on what the process did before.
    """
    frame = inspect.currentframe()
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib"):
            return True
        if file != __file__ and (is_own(file) or is_local(file)):
            return False
        frame = frame.f_back
    return False


def _data_file(name: str) -> Path | None:
    if name.startswith(_SYSTEM) or name.endswith((".py", ".pyc", ".so")):
        return None
    path = Path(name).resolve()
    return path if path.is_file() and is_local(path) else None
