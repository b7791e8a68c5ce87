"""kdbench commands in forked processes: its libraries load once, and a trial takes as long as its own work.

POSIX. What differs from a process of its own is that every library is loaded already; `trial.kdbench` is the other way.
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from benchmarks.faults.patience import Patience
from benchmarks.faults.trial import LIMIT_S, Ended

_LOADED = (
    *("numpy", "onnx", "onnxruntime", "torch", "pydantic", "safetensors.torch", "matplotlib.backends.backend_svg"),
    *("lightning_fabric", "kdbench.cli.main", "kdbench.cli.application", "kdbench.workflows.run"),
)
_MAX_BYTES = 16 << 30  # of address space: a library that allocates more fails, instead of the machine
_POLL_S = 0.01


def load() -> None:
    """Load the libraries that the trials share, before the first fork."""
    for name in _LOADED:
        import_module(name)


def forked(
    arguments: Sequence[str | Path],
    folder: Path,
    limit_s: float = LIMIT_S,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run kdbench in `folder`, in a forked process with a group of its own; end the group beyond the limit."""
    return ended(start(arguments, folder, environment), folder, limit_s)


def start(
    arguments: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None, log: str = ""
) -> int:
    """Start kdbench in `folder` as `forked` does; return the process, which leads a group of its own.

    Commands that run in one folder at the same time need a `log` each, a name for what they write.
    """
    child = os.fork()
    if child == 0:
        _become_kdbench([str(word) for word in arguments], folder, *_logs(folder, log), environment or {})
    return child


def ended(child: int, folder: Path, limit_s: float = LIMIT_S, log: str = "") -> Ended:
    """Wait for a process that `start` started, end its group beyond the limit, and return how it ended."""
    code, peak = _waited(child, limit_s)
    out, err = _logs(folder, log)
    texts = [path.read_bytes().decode(errors="surrogateescape") if path.exists() else "" for path in (out, err)]
    for path in (out, err):
        path.unlink(missing_ok=True)
    return Ended(code, *texts, peak)


def _logs(folder: Path, log: str) -> tuple[Path, Path]:
    return folder / f".{log}stdout", folder / f".{log}stderr"


def _waited(child: int, limit_s: float) -> tuple[int | None, int]:
    """Return the exit code, None beyond the limit, and the most memory of the process and its children in bytes."""
    patience = Patience(limit_s)
    code: int | None = None
    while True:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            break
        if not patience.lasts():
            os.killpg(child, signal.SIGKILL)
            _, _, usage = os.wait4(child, 0)
            break
        time.sleep(_POLL_S)
    return code, usage.ru_maxrss * 1024


def _become_kdbench(arguments: list[str], folder: Path, out: Path, err: Path, environment: Mapping[str, str]) -> None:
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        for path, descriptor in ((os.devnull, 0), (out, 1), (err, 2)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), descriptor)
        os.environ.update(environment)
        resource.setrlimit(resource.RLIMIT_AS, (_MAX_BYTES, _MAX_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.argv = ["kdbench", *arguments]
        code = import_module("kdbench.cli.main").main()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException as error:  # noqa: BLE001 - a forked process must not continue as its parent
        os.write(2, f"\nuncaught {type(error).__name__}: {error}\n".encode(errors="backslashreplace"))
    finally:
        os._exit(code)
