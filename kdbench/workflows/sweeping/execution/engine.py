"""The interface of engines, which run tasks, and the engine that runs them in this process."""

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.progress import Progress, Silent
from kdbench.workflows.sweeping.execution.schedule import Fault, Task

Message = Mapping[str, Any]
Perform = Callable[[Message, Progress], None]


@dataclass(frozen=True)
class Event:
    """The state of a task: done (`ended` without a `fault`), failed, or in progress."""

    task: str
    ended: bool = False
    fault: Fault | None = None
    done: float = 0.0
    total: float = 0.0
    detail: str = ""
    note: str = ""


class Engine(ABC):
    """Runs tasks side by side, as many as fit.

    `slots` is how many trainings may run at once, for the estimate of the remaining time. A task of the kind `measure`
    runs alone on its machine.
    """

    slots: int = 1

    @property
    def meters(self) -> bool:
        """Whether a meter's joules are those of one training, because trainings run one at a time on this machine."""
        return self.slots == 1

    @property
    def queued(self) -> Collection[str]:
        """The started tasks that wait in a cluster's own queue, before they run or after an interruption."""
        return ()

    @abstractmethod
    def accepts(self, task: Task) -> bool:
        """Return whether a task can start now; tasks that could never start are refused before."""

    @abstractmethod
    def start(self, task: Task, message: Message) -> None:
        """Start a task that is accepted."""

    @abstractmethod
    def wait(self, timeout_s: float) -> list[Event]:
        """Return the events since the last call; wait for one for at most `timeout_s`."""

    @abstractmethod
    def close(self) -> None:
        """End the tasks that are still running."""

    def prepare(self, folder: Path) -> None:  # noqa: B027 - most engines have nothing to prepare
        """Prepare for the tasks of a run's folder; raises InputError if they could not work in it."""

    @contextmanager
    def open(self, folder: Path) -> Iterator["Engine"]:
        """Prepare for the tasks of a run's folder, and close the engine when the block ends."""
        try:
            self.prepare(folder)
            yield self
        finally:
            self.close()


class Inline(Engine):
    """Runs each task in this process, at once."""

    def __init__(self, perform: Perform) -> None:
        self._perform = perform
        self._events: list[Event] = []

    def accepts(self, task: Task) -> bool:  # noqa: ARG002 - nothing else is running
        """Return whether the last task's end has been read."""
        return not self._events

    def start(self, task: Task, message: Message) -> None:
        """Do the task."""
        self._events.append(Event(task.id, ended=True, fault=fault_of(lambda: self._perform(message, Silent()))))

    def wait(self, timeout_s: float) -> list[Event]:  # noqa: ARG002 - nothing to wait for
        """Return the ends of tasks."""
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Do nothing: no task runs between two calls."""


def fault_of(work: Callable[[], None]) -> Fault | None:
    """Call `work` and return why it failed; None if it succeeded."""
    try:
        work()
    except KdbenchError as error:
        return Fault(error.message, error.hint)
    except Exception as error:  # noqa: BLE001 - one task's bug must not end the others
        return Fault(f"{type(error).__name__}: {error}", last_lines(traceback.format_exc()), internal=True)
    return None


def last_lines(text: str) -> str:
    """Return the last 12 lines of a text, which is the hint of an internal fault."""
    return "\n".join(text.strip().splitlines()[-12:])
