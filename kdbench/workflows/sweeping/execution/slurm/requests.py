"""The resources that a task's job requests from Slurm, and whether Slurm could ever grant them."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kdbench.errors import InputError
from kdbench.workflows.sweeping.execution.schedule import Task
from kdbench.workflows.sweeping.execution.slurm.options import Options

_COMMANDS = ("sbatch", "srun", "sacct", "scancel")
_TIMEOUT_S = 120.0
_PASSED_ON = ("SLURM_CONF", "SLURM_CLUSTERS")

Request = Mapping[str, Any]
"""sbatch's options by their names with underscores; True stands for an option without a value."""


def request_of(task: Task, options: Options) -> Request:
    """Return the request of a task. One that measures has its node, with all its cores and memory, to itself."""
    directives: dict[str, Any] = {"time": options.time_min, "nodes": 1, "requeue": True}
    if task.kind == "measure":
        return {**directives, **options.measuring, "exclusive": True, "mem": 0}
    directives |= {**options.places, "cpus_per_task": task.cpus}
    if task.gpus:
        directives["gpus_per_node"] = task.gpus
    if options.memory_mb is not None:
        directives["mem"] = f"{options.memory_mb}M"
    return directives


def require_commands() -> None:
    """Raise InputError if Slurm's commands are not installed or sacct does not respond."""
    absent = [name for name in _COMMANDS if shutil.which(name) is None]
    if absent:
        message = f"--on slurm needs Slurm's commands, and there is no {absent[0]}"
        raise InputError(message, "run it on a login node of the cluster, or load its module")
    process = _run(["sacct", "--noheader", "--allocations", "--format=JobID", "--jobs=1"])
    if process.returncode:
        message = f"sacct, which reports the state of jobs, does not respond: {_reason(process)}"
        raise InputError(message, "the cluster needs accounting for --on slurm; without it, start Ray in one job")


def require_capacity(tasks: Sequence[Task], options: Options) -> None:
    """Check with Slurm that each kind of job could run; raises InputError with Slurm's reason if one could not."""
    measuring = next((task for task in tasks if task.kind == "measure"), None)
    if measuring is not None and not options.measuring:
        hint = (
            "name nodes of one kind, or times do not compare: --measure-on FEATURE, partition=NAME or nodelist=NODE; "
            "or set measure.times = false"
        )
        raise InputError("--on slurm needs the nodes that measure", hint)
    kinds: dict[tuple[tuple[str, Any], ...], Task] = {}
    for task in tasks:
        kinds.setdefault(tuple(request_of(task, options).items()), task)
    for request, task in kinds.items():
        if (refusal := _refusal(dict(request))) is not None:
            flags = ", ".join(_flag(key, value) for key, value in request if key not in {"nodes", "requeue"})
            hint = "change --on slurm:…, --measure-on or training.threads; `sinfo` lists partitions and their limits"
            raise InputError(f"Slurm would never run {task.id} ({flags}): {refusal}", hint)


def _refusal(request: Request) -> str | None:
    process = _run(["sbatch", "--test-only", *(_flag(key, value) for key, value in request.items()), "--wrap=true"])
    return _reason(process) if process.returncode else None


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        with outside_jobs():
            return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"{command[0]} does not respond: {error}", "try again when Slurm is up") from error


def _reason(process: subprocess.CompletedProcess[str]) -> str:
    lines = (process.stderr.strip() or process.stdout.strip() or "no reason given").splitlines()
    return lines[-1].removeprefix(f"{process.args[0]}: ").removeprefix("error: ")


def _flag(key: str, value: object) -> str:
    name = f"--{key.replace('_', '-')}"
    return name if value is True else f"{name}={value}"


@contextmanager
def outside_jobs() -> Iterator[None]:
    """Hide the variables of a job that this process may be part of; sbatch would use them as options of new jobs."""
    hidden = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith(("SLURM_", "SLURMD_", "SRUN_", "SBATCH_")) and name not in _PASSED_ON
    }
    try:
        yield
    finally:
        os.environ.update(hidden)
