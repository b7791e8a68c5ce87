"""A training on several devices of this machine: start one process per device, watch them and end them together.

They find each other by torchrun's environment variables; `workers.train` describes their messages.
"""

import os
import signal
from contextlib import ExitStack, suppress
from queue import Empty, SimpleQueue

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # public, but not declared so

from kdbench import errors
from kdbench.errors import KdbenchError
from kdbench.processes import children, messages
from kdbench.processes.child import ChildProcess
from kdbench.progress import Progress, Silent
from kdbench.results.run_folder import RunFolder

WORKER = children.python("kdbench.workflows.workers.train")
_LAST_LINES = 15
_SETTLED_S = 1.0  # until all processes have noticed that one has ended
_LOOPBACK = "127.0.0.1"


def train_in_processes(job: str, count: int, folder: RunFolder, progress: Progress, content: str = "") -> None:
    """Train the job with that id, of the recipe in `folder`, in `count` processes.

    `content` is the hash of the data, which each process loads. Raises the KdbenchError that ended a process, or an
    error that says how the process ended.
    """
    # The parent holds the rendezvous store, so that no other process can take its port.
    store = TCPStore(_LOOPBACK, 0, is_master=True, wait_for_workers=False)
    with ExitStack() as stack:
        lines: _Lines = SimpleQueue()
        command = [*WORKER, str(folder.path), job, content]
        for rank in range(count):
            stack.callback(_Worker(rank, command, _environment(rank, count, store.port), lines).end)
        running = count
        while running:
            worker, line = lines.get()
            if line is not None:
                worker.handle(line, progress)
            elif worker.failed:
                raise _cause(worker, lines)
            else:
                running -= 1


def _cause(first: "_Worker", lines: "_Lines") -> Exception:
    """Return the error of the process that caused the failure, or else of `first`, which failed first.

    When a process ends, those that wait for it fail too, and their end may be noticed first.
    """
    cause = first
    with suppress(Empty):
        while not cause.is_cause:
            worker, line = lines.get(timeout=_SETTLED_S)
            if line is not None:
                worker.handle(line, Silent())
            elif worker.failed and worker.is_cause:
                cause = worker
    return cause.error()


class _Worker(ChildProcess):
    """The process of one rank, and the error that it has reported."""

    def __init__(self, rank: int, command: list[str], environment: dict[str, str], lines: "_Lines") -> None:
        super().__init__(command, environment, lines)
        self._rank = rank
        self._error: KdbenchError | None = None

    def handle(self, line: bytes, progress: Progress) -> None:
        """Pass a message of the process on to `progress`, or keep its error."""
        match messages.read(line):
            case {"step": [done, total, detail]}:
                progress.step(done, total, detail)
            case {"waiting": detail}:
                progress.waiting(detail)
            case {"note": text}:
                progress.note(text)
            case {"error": {"type": name, "message": text, "hint": hint}}:
                self._error = getattr(errors, name, KdbenchError)(text, hint)

    @property
    def failed(self) -> bool:
        """Whether the process, which has closed its output, ended with an error."""
        return self.wait() != 0

    @property
    def is_cause(self) -> bool:
        """Whether the error is its own: it wrote one, or was killed."""
        return self._error is not None or self.wait() < 0

    def error(self) -> Exception:
        """Return the error that ended the process."""
        code = self.wait()
        if self._error is not None:
            return self._error
        if code < 0:
            end = "was killed" if code == -signal.SIGKILL else f"was ended by signal {-code}"
            hint = "it may have run out of memory: use a smaller batch"
            return KdbenchError(f"training process {self._rank + 1} {end}", hint)
        last_lines = self.errors().splitlines()[-_LAST_LINES:]
        return RuntimeError("\n".join([f"training process {self._rank + 1} ended with code {code}:", *last_lines]))


_Lines = SimpleQueue[tuple[_Worker, bytes | None]]


def _environment(rank: int, count: int, port: int) -> dict[str, str]:
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    # The agent store is the parent's.
    rendezvous = {"MASTER_ADDR": _LOOPBACK, "MASTER_PORT": port, "TORCHELASTIC_USE_AGENT_STORE": True}
    fixed = {**ranks, **rendezvous, "TORCHELASTIC_RUN_ID": "kdbench"}
    # Each process gets an equal part of the cores, unless the recipe or the user sets the threads.
    threads = {"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // count))}
    return {**threads, **os.environ, **{name: str(value) for name, value in fixed.items()}}
