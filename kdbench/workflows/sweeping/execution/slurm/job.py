"""What a job does: its task, then a note of how that ended.

The notes are JSON. submitit starts the job from a pickle that the driver wrote for it, into a folder that it had just
made; the answer is no pickle.
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
from kdbench.workflows.sweeping.execution.on_nodes import answer_of, call, hide_gpus, require_version

ANSWER, PROGRESS = "answer.json", "progress.json"
_INTERVAL_S = 5.0


@dataclass(frozen=True)
class Job:
    """A task as a job: the function `perform`, "module:name", with a message, in a folder for its notes.

    `version` is the driver's kdbench. `hides_gpus` hides those of its node from a task that takes none.
    """

    perform: str
    message: Message
    notes: str
    version: str
    hides_gpus: bool

    def __call__(self) -> None:
        """Do the task, and end the process."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # submitit ignores it, and Slurm would wait for half a minute
        for name in list(os.environ):
            if name.startswith(("SLURM_", "SRUN_")):  # Lightning would take them for several processes
                del os.environ[name]
        if self.hides_gpus:
            hide_gpus()
        progress = Noted(Path(self.notes))
        fault = fault_of(lambda: self._perform(progress))
        answer = {**answer_of(fault, self.message), "notes": progress.notes}
        storage.write_json(Path(self.notes) / ANSWER, answer)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # before submitit writes a result, which nobody reads, to a folder that the driver now removes

    def _perform(self, progress: Progress) -> None:
        hint = "start it again with --resume in the environment that the nodes have"
        require_version(self.version, platform.node(), hint)
        call(self.perform, self.message, progress)


class Noted(Silent):
    """Progress that is noted in a file, every five seconds."""

    def __init__(self, folder: Path) -> None:
        self._file, self.notes = folder / PROGRESS, list[str]()
        self._wrote_s = -_INTERVAL_S
        self.step(0, 0)

    def step(self, done: float, total: float, detail: str = "") -> None:
        """Note how far the task is."""
        if time.monotonic() - self._wrote_s >= _INTERVAL_S:
            self._wrote_s = time.monotonic()
            where = f"on {platform.node()}"
            step = [done, total, f"{detail}, {where}" if detail else where]
            storage.write_json(self._file, {"step": step, "notes": self.notes})

    def waiting(self, detail: str) -> None:
        """Note what the task waits for."""
        self.step(0, 0, detail)

    def note(self, text: str) -> None:
        """Keep the note until the next step, or the end."""
        self.notes.append(text)
