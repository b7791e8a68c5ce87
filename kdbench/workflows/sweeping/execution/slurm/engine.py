"""The engine that runs tasks as jobs of Slurm; a measurement gets a node of its own."""

import logging
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit

from kdbench.errors import InputError, KdbenchError, first_line
from kdbench.files import storage
from kdbench.installation import __version__
from kdbench.processes import children, cleanup
from kdbench.workflows.sweeping.execution.engine import Engine, Event, Message
from kdbench.workflows.sweeping.execution.on_nodes import VISIBLE_S, are_visible, invisible_files
from kdbench.workflows.sweeping.execution.schedule import Fault, Task
from kdbench.workflows.sweeping.execution.slurm.job import PROGRESS, RESULT, Job
from kdbench.workflows.sweeping.execution.slurm.notes import Note, Notes
from kdbench.workflows.sweeping.execution.slurm.options import Options
from kdbench.workflows.sweeping.execution.slurm.requests import Request, outside_jobs, request_of
from kdbench.workflows.sweeping.execution.slurm.states import fault_of_state, has_ended, is_resumable, is_running

PERFORM = "kdbench.workflows.sweeping.tasks:perform"
_POLL_S = 1.0  # how often results are looked for; submitit decides how often it queries Slurm
_RETRY_S = 30.0  # after Slurm accepted no job
_MAX_REFUSALS = 20
_MAX_LOSSES = 10  # of jobs that run one task: by limits, preemption and failed nodes
_GENERAL = {"time": "timeout_min", "nodes": "nodes", "cpus_per_task": "cpus_per_task", "gpus_per_node": "gpus_per_node"}
_ADDED = {"requeue", "mem"}
_UNUSABLE, _UNNAMED = re.compile(r"[%\n\r]"), re.compile(r"[^A-Za-z0-9._=-]+")
_MAX_NAME = 80


@dataclass
class _RunningTask:
    """A submitted task: its job's state, when the job was first seen to have ended, and what it has reported."""

    task: Task
    message: Message
    job: submitit.Job[None]
    folder: Path
    state: str = ""
    runs: bool = False
    ended_s: float | None = None
    step: Any = None
    notes: int = 0


class Slurm(Engine):
    """Runs tasks as jobs of Slurm, or of another cluster that submitit supports.

    `perform` is the function that does a task, as "module:name".
    """

    def __init__(self, options: Options, perform: str | None = None, cluster: str = "slurm") -> None:
        logging.getLogger("submitit").setLevel(logging.CRITICAL)  # it prints to standard output
        self.slots = options.jobs
        self._options, self._perform, self._cluster = options, perform or PERFORM, cluster
        self._sent: dict[str, _RunningTask] = {}
        self._held: list[tuple[Task, Message]] = []
        self._losses: Counter[str] = Counter()
        self._events: list[Event] = []
        self._refusals, self._retry_s = 0, 0.0
        self._notes: Notes | None = None

    @property
    def meters(self) -> bool:
        """False: a node's meter counts what else runs there."""
        return False

    @property
    def queued(self) -> Collection[str]:
        """The tasks whose jobs wait, for nodes or for being submitted."""
        waiting = {id_ for id_, sent in self._sent.items() if not sent.runs}
        return waiting | {task.id for task, _ in self._held}

    def prepare(self, folder: Path) -> None:
        """Read the notes of jobs that an earlier driver left in the run's folder."""
        if _UNUSABLE.search(str(folder)):
            message = f"Slurm reads {folder} otherwise, which has a % or a line break in its name"
            raise InputError(message, "choose another folder with --out")
        self._notes = Notes(folder)

    @contextmanager
    def open(self, folder: Path) -> Iterator["Engine"]:
        """Cancel the jobs when the block ends, also if this process is terminated."""
        with cleanup.undo_at_end(self.close), super().open(folder):
            yield self

    def accepts(self, task: Task) -> bool:  # noqa: ARG002 - Slurm knows what fits
        """Return whether Slurm's queue may have another job."""
        return len(self._sent) + len(self._held) < self.slots

    def start(self, task: Task, message: Message) -> None:
        """Submit a task's job, or use the job that already runs it."""
        self._held.append((task, message))
        self._submit()

    def wait(self, timeout_s: float) -> list[Event]:
        """Return the events since the last call; wait for one for at most `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            self._submit()
            self._poll()
            left_s = deadline_s - time.monotonic()
            if self._events or left_s <= 0:
                events, self._events = self._events, []
                return events
            time.sleep(min(_POLL_S, left_s))

    def close(self) -> None:
        """Cancel all jobs, also those of an earlier driver that this one has not requested."""
        for sent in list(self._sent.values()):
            self._drop(sent.task, sent.job)
        if self._notes is not None:
            for note in self._notes.unclaimed():
                _cancel(self._job(note))
                self._notes.remove(note.task)
        self._sent, self._held = {}, []

    def _submit(self) -> None:
        """Submit held tasks; Slurm may refuse them for a while, for example beyond a limit on a user's jobs."""
        if time.monotonic() < self._retry_s:
            return
        held, self._held = self._held, []
        for index, (task, message) in enumerate(held):
            try:
                self._sent[task.id] = self._earlier(task, message) or self._submitted(task, message)
            except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
                self._handle_refusal(held[index:], error)
                return
            self._refusals = 0

    def _handle_refusal(self, held: Sequence[tuple[Task, Message]], error: Exception) -> None:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = next((line for line in reversed(lines) if "sbatch" in line), first_line(error))
        self._refusals += 1
        if self._refusals > _MAX_REFUSALS:
            fault = Fault(
                f"Slurm accepts no job: {reason}", "look at the queue with `squeue --me`, and resume the sweep"
            )
            self._events += [Event(task.id, ended=True, fault=fault) for task, _ in held]
            self._refusals = 0
            return
        self._retry_s, self._held = time.monotonic() + _RETRY_S, [*held]
        if self._refusals == 1:
            note = f"Slurm accepts no further job for now: {reason}; trying again every {_RETRY_S:.0f} s"
            self._events.append(Event(held[0][0].id, note=note))

    def _earlier(self, task: Task, message: Message) -> _RunningTask | None:
        """Return the job that an earlier driver submitted for the same task; cancel one for another task."""
        assert self._notes is not None, "prepared"
        note = self._notes.claim(task.id)
        if note is None:
            return None
        job = self._job(note)
        if note.message == storage.content_hash(message):
            self._events.append(Event(task.id, note=f"job {note.job} is already running it"))
            return _RunningTask(task, message, job, note.folder)
        self._drop(task, job)
        return None

    def _submitted(self, task: Task, message: Message) -> _RunningTask:
        assert self._notes is not None, "prepared"
        folder = self._notes.new(task.id)
        executor = submitit.AutoExecutor(folder, cluster=self._cluster)
        executor.update_parameters(**_parameters(task, request_of(task, self._options)))
        hides = task.kind != "measure" and not task.gpus
        work = Job(self._perform, message, str(folder), __version__, hides_gpus=hides)
        with outside_jobs(), children.safe_path():
            job: submitit.Job[None] = executor.submit(work)
        self._notes.write(Note(task.id, job.job_id, storage.content_hash(message), folder))
        return _RunningTask(task, message, job, folder)

    def _job(self, note: Note) -> submitit.Job[None]:
        return submitit.SlurmJob(note.folder, note.job)

    def _poll(self) -> None:
        """Read the progress and the results of jobs."""
        for sent in list(self._sent.values()):
            result = _read(sent.folder / RESULT)
            self._report_progress(sent, result or _read(sent.folder / PROGRESS))
            if result is None:
                self._check_state(sent)
            elif result["fault"] is not None:
                self._end(sent, Fault(**result["fault"]))
            elif are_visible(result["left"], sent.message):
                self._end(sent, None)
            elif self._is_overdue(sent):
                self._end(sent, invisible_files())

    def _report_progress(self, sent: _RunningTask, report: Any) -> None:
        if report is None:
            return
        for text in report["notes"][sent.notes :]:
            self._events.append(Event(sent.task.id, note=text))
        sent.notes = max(sent.notes, len(report["notes"]))
        if "step" in report and report["step"] != sent.step:
            sent.runs = True  # Slurm reports it later
            done, total, detail = sent.step = report["step"]
            self._events.append(Event(sent.task.id, done=done, total=total, detail=detail))

    def _check_state(self, sent: _RunningTask) -> None:
        state = (str(sent.job.state).split() or ["UNKNOWN"])[0].rstrip("+").upper()
        if not has_ended(state):
            sent.ended_s = None
            if state not in {sent.state, "UNKNOWN"}:  # accounting may lag behind
                sent.state, sent.runs = state, is_running(state)
                if state != "RUNNING":
                    self._events.append(Event(sent.task.id, detail=f"job {sent.job.job_id} {state.lower()}"))
            return
        if not self._is_overdue(sent):
            return
        if is_resumable(state):
            self._losses[sent.task.id] += 1
            if self._losses[sent.task.id] <= _MAX_LOSSES:
                note = f"job {sent.job.job_id} ended as {state}; another one continues"
                self._events.append(Event(sent.task.id, note=note))
                self._drop(sent.task, sent.job)
                self._held.append((sent.task, sent.message))
                return
        self._end(sent, fault_of_state(sent.job.job_id, state, sent.job.paths.stderr))

    def _is_overdue(self, sent: _RunningTask) -> bool:
        """Return whether a job ended so long ago that its files should be visible."""
        if sent.ended_s is None:
            sent.ended_s = time.monotonic()
        return time.monotonic() - sent.ended_s >= VISIBLE_S

    def _end(self, sent: _RunningTask, fault: Fault | None) -> None:
        self._events.append(Event(sent.task.id, ended=True, fault=fault))
        self._drop(sent.task, sent.job if fault is not None and fault.lost else None)

    def _drop(self, task: Task, job: submitit.Job[None] | None) -> None:
        """Remove a task's job and its notes; cancel the job first if it may still exist."""
        if job is not None:
            _cancel(job)
        self._sent.pop(task.id, None)
        if self._notes is not None:
            self._notes.remove(task.id)


def _cancel(job: submitit.Job[None]) -> None:
    with suppress(OSError):
        job.cancel(check=False)


def _read(file: Path) -> Any:
    """Return the content of a job's file; None if it has not written it."""
    try:
        return storage.read_json(file, "note of a job")
    except KdbenchError:
        return None


def _parameters(task: Task, request: Request) -> dict[str, Any]:
    """Return a request as submitit's parameters.

    Jobs start their process without srun, which would give it a single core: of a measurement's node, and since Slurm
    22.05 of a training's cores.
    """
    name = _UNNAMED.sub("-", f"kdbench-{task.id}")[:_MAX_NAME]
    parameters: dict[str, Any] = {"name": name, "slurm_use_srun": False}
    parameters |= {_GENERAL[key]: value for key, value in request.items() if key in _GENERAL}
    parameters["slurm_additional_parameters"] = {key: value for key, value in request.items() if key in _ADDED}
    return parameters | {f"slurm_{key}": value for key, value in request.items() if key not in {*_GENERAL, *_ADDED}}
