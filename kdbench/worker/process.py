"""Running a measuring process and waiting for it without disturbing it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from kdbench.errors import MeasurementError
from kdbench.files import storage
from kdbench.processes import children, messages
from kdbench.progress import Progress
from kdbench.worker.jobs import Job
from kdbench.worker.timeouts import silence_limit_s

WORKER = children.python("kdbench.worker.__main__")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_THREAD_PREFIXES = ("OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_")
_STDERR_LINES = 5


class WorkerError(MeasurementError):
    """Raised if a measuring process did not finish; `model` is the model in progress, if any.

    `silent` is True if the process was ended because it sent no message.
    """

    def __init__(self, message: str, hint: str, model: str | None, *, silent: bool = False) -> None:
        super().__init__(message, hint)
        self.model = model
        self.silent = silent


def run_job(job: Job, folder: Path, progress: Progress, *, threads: int = 1) -> Any:
    """Run `job` in a fresh process and return its result as JSON values.

    `folder` holds the files of job, result and error output; `threads` limits numpy's threads there. It blocks on the
    process's output, so waiting takes no CPU time. Raises WorkerError if the process dies, or sends no message for
    `silence_limit_s` of the job, and StorageError if it cannot write. An interrupt ends the process at once.
    """
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    storage.write_json(folder / "job.json", job.to_json())
    with (folder / "stderr.txt").open("w+b") as stderr:
        process = children.start([*WORKER, str(folder / "job.json"), str(result)], _environment(threads), stderr)
        try:
            assert process.stdout is not None
            status = _listen(process.stdout, progress, job)
            code = None if status.silent else process.wait()
        finally:
            children.end(process)
        if status.disk is not None:
            raise storage.storage_error(status.disk, Path(status.disk.filename or folder))
        if code is None:
            raise _silence(job, status)
        if code != 0:
            raise _exit_error(job.probe, code, status.model, stderr)
    return json.loads(result.read_text(encoding="utf-8"))


def _environment(threads: int) -> dict[str, str]:
    """Return this process's environment with every setting of numpy's threads replaced by `threads`."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(_THREAD_PREFIXES)}
    return {
        **inherited,
        **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # NVML's order, so that both mean the same board
    }


@dataclass
class _Status:
    """The state that a process has reported: its current model and batch, and the error of a file it could not write.

    `silent` is True if it sent no message within the limit.
    """

    model: str | None = None
    batch: int | None = None
    disk: OSError | None = None
    silent: bool = False


def _listen(stdout: IO[bytes], progress: Progress, job: Job) -> _Status:
    """Forward the process's messages to `progress` until it closes its output or falls silent; return its status."""
    status = _Status()
    for line in children.lines_within(stdout, lambda: silence_limit_s(job, status.batch)):
        if line is None:
            status.silent = True
            break
        message = messages.read(line)
        if message is not None:
            status.model = message.get("model", status.model)
            status.batch = message.get("batch", status.batch)
            if "step" in message:
                progress.step(*message["step"])
            if "disk" in message:
                status.disk = OSError(*message["disk"])
    return status


def _silence(job: Job, status: _Status) -> WorkerError:
    of = f" of {status.model}" if status.model else ""
    message = f"the {job.probe} process{of} did not answer for {silence_limit_s(job, status.batch):.0f} s"
    return WorkerError(message, "the model hangs, or is too slow to be timed", status.model, silent=True)


def _exit_error(probe: str, code: int, model: str | None, stderr: IO[bytes]) -> WorkerError:
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").strip().splitlines()
    last = f": {' | '.join(line.strip() for line in lines[-_STDERR_LINES:])}" if lines else ""
    process = f"the {probe} process{f' of {model}' if model else ''}"
    if code < 0:
        out_of_memory = "the system may have killed it for lack of memory: measure smaller batches or models"
        hint = out_of_memory if code == -9 else "the runtime crashed; try another version of onnxruntime"
        return WorkerError(f"{process} was ended by signal {-code}{last}", hint, model)
    return WorkerError(f"{process} failed with exit code {code}{last}", "see the last lines of its output above", model)
