"""Recording the files that code reads while it runs, by Python's audit events, and the modules that it imports."""

import inspect
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdbench.files.storage import followed
from kdbench.plugins.search import is_local, is_shipped_file, source_file

State = tuple[int, int] | None  # of a file that may be written: its size and modification time
_WRITING = os.O_WRONLY | os.O_CREAT | os.O_TRUNC  # flags of a file that is written, or that may not exist yet
_SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/")
_CALLERS = ("plugins/calling.py", "models/__init__.py")  # where kdbench calls user code
_hooked = False


@dataclass(frozen=True)
class _Block:
    """The files opened since a block began, and the other threads that were running when it began."""

    others: frozenset[int]
    files: dict[str, State] = field(default_factory=dict)


_blocks: list[_Block] = []


@contextmanager
def opening() -> Iterator[set[Path]]:
    """Yield a set that holds, after the block, the regular files that it read and the sources of modules it imported.

    Files count if Python opens them in this process, in any of its threads; Python's own files do not. A file opened
    for reading and writing counts unless the block changed it. An outer block also records what an inner one does.
    """
    global _hooked  # noqa: PLW0603 - an audit hook stays for the life of the process
    if not _hooked:
        sys.addaudithook(_on_event)
        _hooked = True
    threads = (thread.ident for thread in threading.enumerate())
    block = _Block(frozenset(ident for ident in threads if ident) - {threading.get_ident()})
    files, known = set[Path](), set(sys.modules)
    _blocks.append(block)
    try:
        yield files
    finally:
        _blocks[:] = [other for other in _blocks if other is not block]
        files |= {path for name, state in block.files.items() if (path := _data_file(name, state)) is not None}
        new = (source_file(sys.modules.get(name)) for name in sys.modules.keys() - known)
        files |= {file for file in new if file is not None and is_local(file)}


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not _blocks:
        return
    name, mode, flags = arguments
    reads = not flags & _WRITING if mode is None else "r" in mode
    if not reads or not isinstance(name, str | bytes | os.PathLike):
        return
    users_code = _is_users_code()
    if users_code is False:
        return
    path = os.path.abspath(os.fsdecode(name))  # noqa: PTH100 - cheap, and the working directory may change
    writes = bool(flags & os.O_RDWR) if mode is None else "+" in mode
    state, thread = _state(path) if writes else None, threading.get_ident()
    for block in _blocks:
        if users_code or thread not in block.others:  # the latter: a library in a thread that user code started
            block.files.setdefault(path, state)


def _state(path: str) -> State:
    try:
        status = os.stat(path)  # noqa: PTH116 - within an audit hook
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _is_users_code() -> bool | None:
    """Return whether user code opens the file: False for kdbench and for the import of a library, None if unknown.

    A library may read files, such as its settings, only when it is first imported; so those depend on what the process
    did before. Unknown is a stack with neither user code nor kdbench.
    """
    frame = inspect.currentframe()
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib"):
            return False
        if is_shipped_file(file) and file != __file__:
            return file.endswith(_CALLERS)
        if not is_shipped_file(file) and is_local(file):
            return True
        frame = frame.f_back
    return None


def _data_file(name: str, state: State) -> Path | None:
    if name.startswith(_SYSTEM) or name.endswith((".pyc", ".so")) or state not in {None, _state(name)}:
        return None
    path = followed(Path(name))
    return path if path.is_file() and is_local(path) and not is_module(path) else None


def is_module(path: Path) -> bool:
    """Return whether `path` is the source of an imported module, not a script that code reads as data."""
    if path.suffix != ".py":
        return False
    files = (getattr(module, "__file__", None) for module in [*sys.modules.values()])
    return any(isinstance(file, str) and is_local(file) and Path(file).resolve() == path for file in files)
