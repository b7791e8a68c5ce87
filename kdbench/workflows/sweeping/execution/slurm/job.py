"""Run a task as a job of Slurm, and write its progress and its result as JSON.

submitit starts the job from a pickle that the driver has just written to a new folder; nothing that the job writes is
unpickled.
"""

import os
import platform
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from kdbench.files import storage
from kdbench.progress import Progress, Silent
from kdbench.workflows.sweeping.execution.engine import Message, fault_of
from kdbench.workflows.sweeping.execution.on_nodes import call, hide_gpus, require_version, result_of

RESULT, PROGRESS = "result.json", "progress.json"
_INTERVAL_S = 5.0


@dataclass(frozen=True)
class Job:
    """A task as a job: the function `perform`, "module:name", with a message, in a folder for its `notes`.

    `version` is the driver's. `hides_gpus` hides the node's GPUs from a task that uses none.
    """

    perform: str
    message: Message
    notes: str
    version: str
    hides_gpus: bool

    def __call__(self) -> None:
        """Run the task, and end the process."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # submitit ignores it, and Slurm would wait for half a minute
        for name in list(os.environ):
            if name.startswith(("SLURM_", "SRUN_")):  # Lightning would infer several processes from them
                del os.environ[name]
        if self.hides_gpus:
            hide_gpus()
        progress = FileProgress(Path(self.notes))
        fault = fault_of(lambda: self._perform(progress))
        storage.write_json(Path(self.notes) / RESULT, {**result_of(fault, self.message), "notes": progress.notes})
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # before submitit writes its own result to the folder, which the driver now removes

    def _perform(self, progress: Progress) -> None:
        hint = "start it again with --resume in the environment that the nodes have"
        require_version(self.version, platform.node(), hint)
        call(self.perform, self.message, progress)


class FileProgress(Silent):
    """Progress that is written to a file, every five seconds."""

    def __init__(self, folder: Path) -> None:
        self._file, self.notes = folder / PROGRESS, list[str]()
        self._wrote_s = -_INTERVAL_S
        self.step(0, 0)

    def step(self, done: float, total: float, detail: str = "") -> None:
        """Write how far the task is."""
        if time.monotonic() - self._wrote_s >= _INTERVAL_S:
            self._wrote_s = time.monotonic()
            where = f"on {platform.node()}"
            step = [done, total, f"{detail}, {where}" if detail else where]
            storage.write_json(self._file, {"step": step, "notes": self.notes})

    def waiting(self, detail: str) -> None:
        """Write what the task waits for."""
        self.step(0, 0, detail)

    def note(self, text: str) -> None:
        """Keep the note until the next step, or the end."""
        self.notes.append(text)
