"""Starting Python processes that ignore the current folder, share this process's locks, and end with it.

The part that runs in the child, before anything else, is `kdbench.processes.parent`.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from kdbench.installation import package_folder
from kdbench.processes import locks

if TYPE_CHECKING:
    from subprocess import Popen

_WAIT_S = 5.0  # other processes wake the machine more often, so this does not disturb a measurement
_CHUNK = 1 << 16
_HAS_SAFE_PATH = sys.version_info >= (3, 11)
_SAFE_PATH, _PATH = "PYTHONSAFEPATH", "PYTHONPATH"


def python(module: str) -> tuple[str, ...]:
    """Return the command that runs a module, with -P: modules in the current folder must not shadow a library.

    Python below 3.11 has no -P; there, `start` changes the folder instead.
    """
    return (sys.executable, *(("-P",) if _HAS_SAFE_PATH else ()), "-m", module)


def safe_environment() -> dict[str, str]:
    """Return environment variables that keep the current folder off the path of every Python process.

    Empty entries of PYTHONPATH are removed: they mean the current folder, and arise from joining an empty variable.
    """
    entries = os.environ.get(_PATH)
    path = {} if entries is None else {_PATH: os.pathsep.join(filter(None, entries.split(os.pathsep)))}
    return {_SAFE_PATH: "1", **path}


@contextlib.contextmanager
def safe_path() -> Iterator[None]:
    """Keep the current folder off the path of processes that libraries start while the block runs."""
    before = {name: os.environ.get(name) for name in safe_environment()}
    os.environ.update(safe_environment())
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def start(
    command: Sequence[str], environment: Mapping[str, str], stderr: IO[bytes] | int, **options: Any
) -> Popen[bytes]:
    """Start a process of kdbench with this environment; its standard output is a pipe.

    Its standard input is a pipe, for `send`, that closes when this process ends. `options` are those of Popen.
    """
    import subprocess

    safe = safe_environment()
    root = str(package_folder().parent)
    path = os.pathsep.join(filter(None, (root, safe.get(_PATH))))
    if not _HAS_SAFE_PATH:
        options.setdefault("cwd", root)
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={**environment, **safe, _PATH: path},
        pass_fds=locks.shared(),
        **options,
    )


def lines_within(stream: IO[bytes], silence_s: Callable[[], float]) -> Iterator[bytes | None]:
    """Yield the lines of a child's output until the child closes it; after `silence_s()` without output, yield None.

    None is the last value. Time during which the machine is suspended does not count.
    """
    descriptor, rest = stream.fileno(), b""
    output = select.poll()  # `select.select` refuses descriptors from 1024 on
    output.register(descriptor, select.POLLIN)
    while True:
        limit_s = silence_s()
        wait_s = min(_WAIT_S, limit_s)
        waits = math.ceil(limit_s / wait_s)
        while waits and not output.poll(1000 * wait_s):
            waits -= 1
        if not waits:
            yield None
            return
        read = os.read(descriptor, _CHUNK)
        *lines, rest = (rest + read).split(b"\n")
        yield from lines
        if not read:
            yield rest
            return


def send(process: Popen[bytes], message: Any) -> None:
    """Write a message of JSON values to a process as one line; raises BrokenPipeError if the process has ended."""
    assert process.stdin is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()


def end(process: Popen[bytes]) -> None:
    """End a process that `start` started, even if it is stopped, and close its pipes."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        with contextlib.suppress(BrokenPipeError):  # closing flushes a message that the process did not read
            stream.close()
