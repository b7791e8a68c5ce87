"""Run a task on a node, after a check that the node sees the sweep's folder and has the driver's version of kdbench.

Each task carries these expectations, because nodes may join at any time.
"""

import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kdbench.errors import InputError
from kdbench.files.claim import CLAIM
from kdbench.installation import __version__
from kdbench.progress import Progress, Silent
from kdbench.workflows.sweeping.execution.engine import Message, fault_of
from kdbench.workflows.sweeping.execution.on_nodes import call, hide_gpus, require_version, result_of

_INTERVAL_S = 2.0
_INSTALL = "install the same on all nodes: pip install 'kdbench[train,cluster]' there"


@dataclass(frozen=True)
class Expected:
    """What the driver expects of a node: its own `version`, and a `folder` in which it finds the driver's `claim`."""

    version: str
    folder: str
    claim: str

    @classmethod
    def of(cls, folder: Path) -> "Expected":
        """Return what a driver that works in `folder` expects."""
        return cls(__version__, str(folder), _claim(folder))

    def check(self, host: str) -> None:
        """Raise InputError if this node, called `host`, is not as expected."""
        require_version(self.version, host, _INSTALL)
        if _claim(Path(self.folder)) != self.claim:
            message = f"node {host} does not see the sweep's folder {self.folder}"
            raise InputError(message, "choose one with --out that all nodes share under the same path, as on NFS")


def _claim(folder: Path) -> str:
    try:
        return (folder / CLAIM).read_text(encoding="utf-8")
    except OSError:
        return "no claim"


class Mailbox:
    """Keeps messages of tasks until the driver fetches them; a Ray actor, so that all nodes can reach it."""

    def __init__(self) -> None:
        self._messages: list[tuple[str, dict[str, Any]]] = []

    def put(self, task: str, message: dict[str, Any]) -> None:
        """Keep a message of a task."""
        self._messages.append((task, message))

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the messages of tasks since the last call."""
        messages, self._messages = self._messages, []
        return messages


class MailboxProgress(Silent):
    """Progress that is sent to a mailbox, every two seconds."""

    def __init__(self, task: str, mailbox: Any, host: str) -> None:
        self._task, self._mailbox, self._host = task, mailbox, host
        self._sent_s = 0.0
        self._put({"step": [0, 0, f"on {host}"]})

    def step(self, done: float, total: float, detail: str = "") -> None:
        """Send how far the task is."""
        if time.monotonic() - self._sent_s >= _INTERVAL_S:
            self._sent_s = time.monotonic()
            self._put({"step": [done, total, f"{detail}, on {self._host}" if detail else f"on {self._host}"]})

    def waiting(self, detail: str) -> None:
        """Send what the task waits for."""
        self.step(0, 0, detail)

    def note(self, text: str) -> None:
        """Send the note."""
        self._put({"note": f"{text} (on {self._host})"})

    def _put(self, message: dict[str, Any]) -> None:
        self._mailbox.put.remote(self._task, message)


def do(
    perform: str, task: str, message: Message, expected: Expected, mailbox: Any, *, hides_gpus: bool
) -> dict[str, Any]:
    """Run a task with the function `perform`, "module:name"; return why it failed, or the files that it wrote.

    Ray limits the visible GPUs only for tasks that use some; `hides_gpus` hides them from a task that uses none.
    """
    import ray

    host = _host()
    mailbox.put.remote(task, {"node": ray.get_runtime_context().get_node_id()})
    if hides_gpus:
        hide_gpus()
    progress = MailboxProgress(task, mailbox, host)
    if message.get("task") == "measure":
        reset_priority(progress)
    fault = fault_of(lambda: _do(perform, message, expected, host, progress))
    return {**result_of(fault, message), "host": host}


def _do(perform: str, message: Message, expected: Expected, host: str, progress: Progress) -> None:
    expected.check(host)
    call(perform, message, progress)


def reset_priority(progress: Progress) -> None:
    """Give this process, and those that it starts, normal priority, which Ray lowers; report it if that fails."""
    if os.nice(0) <= 0:
        return
    try:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    except OSError:
        note = f"other processes have priority over the measurement, which has niceness {os.nice(0)}"
        progress.note(f"{note}: start the node with RAY_worker_niceness=0")


def probe(expected: Expected) -> dict[str, Any] | None:
    """Return why tasks cannot run on this node; None if they can."""
    fault = fault_of(lambda: expected.check(_host()))
    return None if fault is None else asdict(fault)


def _host() -> str:
    return platform.node()
