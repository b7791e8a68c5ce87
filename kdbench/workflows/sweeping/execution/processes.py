"""Run tasks in processes of this machine, within its cores, memory and GPUs; while one measures, nothing else runs."""

import os
import queue
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress

from kdbench.machine.memory import available_bytes
from kdbench.processes import children, messages
from kdbench.processes.child import ChildProcess
from kdbench.workflows.sweeping.execution.engine import Engine, Event, Message, last_lines
from kdbench.workflows.sweeping.execution.schedule import Fault, Task

WORKER = children.python("kdbench.workflows.workers.sweep")
_RESERVE = 1.15  # times the largest peak memory of a process
_VISIBLE = "CUDA_VISIBLE_DEVICES"

Gpus = tuple[str, ...]
"""The GPUs that a process sees; empty for a process that sees all."""


class Processes(Engine):
    """Runs tasks on `cpus` cores and the GPUs with these names, in processes that run one task after the other.

    A process is expected to need `need_bytes` until the first one has reported its peak. A task that needs more cores
    or GPUs than the machine has runs alone.
    """

    def __init__(self, cpus: int, gpus: Sequence[str], need_bytes: int, command: Sequence[str] = WORKER) -> None:
        self.slots = cpus
        self._cpus, self._gpus, self._command = cpus, list(gpus), command
        self._need_bytes, self._need_is_measured = need_bytes, False
        self._max_processes = 4096  # fewer after one was killed
        self._running: dict[str, _Worker] = {}
        self._idle: list[_Worker] = []
        self._lines: queue.SimpleQueue[tuple[_Worker, bytes | None]] = queue.SimpleQueue()

    def accepts(self, task: Task) -> bool:
        """Return whether a task can start now."""
        if not self._running:
            return True
        if task.kind == "measure" or any(worker.task.kind == "measure" for worker in self._running.values()):
            return False
        cpus = sum(worker.task.cpus for worker in self._running.values())
        if cpus + task.cpus > self._cpus or task.gpus > len(self._gpus) or len(self._running) >= self._max_processes:
            return False
        return self._idle_worker(task) is not None or available_bytes() > _RESERVE * self._need_bytes

    def start(self, task: Task, message: Message) -> None:
        """Send a task to an idle process, or to a new one."""
        worker = self._idle_worker(task)
        if worker is not None:
            self._idle.remove(worker)
        if task.kind == "measure":  # idle processes occupy memory
            while self._idle:
                self._idle.pop().end()
        if worker is None:
            while self._idle and available_bytes() < _RESERVE * self._need_bytes:
                self._idle.pop(0).end()
            gpus = tuple(self._gpus[: task.gpus])
            worker = _Worker(self._command, gpus, self._lines)
        for name in worker.gpus:
            self._gpus.remove(name)
        self._running[task.id] = worker
        worker.perform(task, message)

    def _idle_worker(self, task: Task) -> "_Worker | None":
        """Return an idle process that sees as many GPUs as the task needs, all of them free."""
        fitting = (w for w in self._idle if len(w.gpus) == task.gpus and all(name in self._gpus for name in w.gpus))
        return next(fitting, None)

    def wait(self, timeout_s: float) -> list[Event]:
        """Return the events since the last call; wait for one for at most `timeout_s`."""
        events: list[Event] = []
        with suppress(queue.Empty):
            worker, line = self._lines.get(timeout=timeout_s)
            while True:
                if (event := self._event(worker, line)) is not None:
                    events.append(event)
                worker, line = self._lines.get_nowait()
        return events

    def close(self) -> None:
        """End all processes."""
        for worker in (*self._running.values(), *self._idle):
            worker.end()
        self._running, self._idle = {}, []

    def _event(self, worker: "_Worker", line: bytes | None) -> Event | None:
        if line is None:
            return self._ended(worker)
        message = messages.read(line)
        if self._running.get(worker.task.id) is not worker:
            message = None
        match message:
            case {"step": [done, total, detail]}:
                return Event(worker.task.id, done=done, total=total, detail=detail)
            case {"waiting": detail}:
                return Event(worker.task.id, detail=detail)
            case {"note": text}:
                return Event(worker.task.id, note=text)
            case {"fault": fault, "peak_bytes": peak}:
                self._need_bytes = max(peak, self._need_bytes if self._need_is_measured else 0) or self._need_bytes
                self._need_is_measured = True
                self._free(worker)
                self._idle.append(worker)
                return Event(worker.task.id, ended=True, fault=None if fault is None else Fault(**fault))
        return None

    def _free(self, worker: "_Worker") -> None:
        del self._running[worker.task.id]
        self._gpus += worker.gpus

    def _ended(self, worker: "_Worker") -> Event | None:
        """Return the end of the task of a process that has ended; None if it had no task."""
        if worker in self._idle:
            self._idle.remove(worker)
        if self._running.get(worker.task.id) is not worker:
            return None
        others = len(self._running) - 1
        self._free(worker)
        fault = worker.fault()
        if fault.message.endswith("killed") and others:
            self._max_processes = self.slots = max(1, others)
        return Event(worker.task.id, ended=True, fault=fault)


class _Worker(ChildProcess):
    """A process and its current or last task."""

    task: Task

    def __init__(
        self, command: Sequence[str], gpus: Gpus, lines: "queue.SimpleQueue[tuple[_Worker, bytes | None]]"
    ) -> None:
        self.gpus = gpus
        super().__init__(command, _environment(gpus), lines)

    def perform(self, task: Task, message: Message) -> None:
        """Send a task to the process."""
        self.task = task
        self.send(message)

    def fault(self) -> Fault:
        """Return how the process ended before its task did."""
        code = self.wait()
        if code == -signal.SIGKILL:
            return Fault("its process was killed", "it may have run out of memory: use a smaller batch", lost=True)
        return Fault(f"its process ended with code {code}", last_lines(self.errors()), internal=True, lost=True)


def _environment(gpus: Gpus) -> Mapping[str, str]:
    return {**os.environ, _VISIBLE: ",".join(gpus)} if gpus else dict(os.environ)
