"""One of the processes that train a network together: `python -m kdbench.workflows.stages.train_worker FOLDER JOB`.

It takes the recipe from the run's folder. What the first one says of its progress, and any of them of an error, goes to
standard output, one JSON object a line.
"""

import json
import os
import sys
from pathlib import Path
from threading import Thread

from torch import distributed

from kdbench import storage
from kdbench.distill.metering import Unmetered
from kdbench.distill.processes import process_group
from kdbench.errors import KdbenchError
from kdbench.progress import Progress, Silent
from kdbench.recipe.loading import recipe_from
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.plan import plan
from kdbench.workflows.stages.run_data import load_run_data
from kdbench.workflows.stages.train import SPREAD, train_one


class JsonProgress(Silent):
    """Progress that the parent process is told."""

    def step(self, done: float, total: float, detail: str = "") -> None:
        """Tell how far the training is."""
        _say({"step": [done, total, detail]})

    def note(self, text: str) -> None:
        """Tell the note."""
        _say({"note": text})


def main(folder: RunFolder, job_id: str) -> int:
    """Do this process's part of the job; return the exit code."""
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        processes = process_group()
        recipe = recipe_from(storage.read_json(folder.marker, "recipe"), str(folder.marker))
        material = load_run_data(recipe)
        job = next(job for job in plan(recipe) if job.id == job_id)
        progress: Progress = JsonProgress() if processes.first else Silent()
        train_one(job, recipe, material, folder, progress, Unmetered(SPREAD))
    except KdbenchError as error:
        _say({"error": {"type": type(error).__name__, "message": error.message, "hint": error.hint}})
        return error.exit_code
    distributed.destroy_process_group()
    return 0


def _say(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    # Not by way of sys.stdin, whose lock an orderly end of the process would wait for.
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(RunFolder(Path(sys.argv[1])), sys.argv[2]))
