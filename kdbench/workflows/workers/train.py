"""One of several processes that train one network: `python -m kdbench.workflows.workers.train FOLDER JOB HASH`.

HASH is that of the data; the recipe is in the run's folder. The process writes errors, and on rank zero the progress,
to standard output, as one JSON object per line.
"""

import re
import sys
from pathlib import Path

from torch import distributed

from kdbench.distill.training.processes import process_group
from kdbench.errors import InputError, KdbenchError
from kdbench.files import storage
from kdbench.processes import messages
from kdbench.processes.parent import end_with_parent
from kdbench.progress import Silent
from kdbench.recipe.loading import recipe_from
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.train import UNMETERED, train_one
from kdbench.workflows.study.run_data import load_run_data
from kdbench.workflows.study.user_code import load_plugins, planned_job
from kdbench.workflows.workers.progress import MessageProgress


def main(folder: RunFolder, job_id: str, content: str = "") -> int:
    """Train this process's part of the job, on data whose hash is `content`; return the exit code."""
    end_with_parent()
    try:
        processes = process_group()
        recipe = recipe_from(storage.read_json(folder.marker, "recipe"), str(folder.marker))
        load_plugins(recipe)
        run_data = load_run_data(recipe)
        if content not in {"", run_data.content}:
            subject = f"{job_id}: {recipe.data.name!r} returns other data in each process"
            raise InputError(subject, "it must return the same arrays each time: seed its random numbers")
        job = planned_job(recipe, job_id, folder)
        progress = MessageProgress() if processes.first else Silent()
        with storage.storage_errors(folder.path):
            train_one(job, recipe, run_data, folder, progress, UNMETERED)
    except KdbenchError as error:
        return _report(error)
    except RuntimeError as error:
        if (message := timeout_message(error)) is None:
            raise
        messages.write(
            {"error": {"type": "KdbenchError", "message": message, "hint": "check whether one of them hangs"}}
        )
        return KdbenchError.exit_code
    distributed.destroy_process_group()
    return 0


def _report(error: KdbenchError) -> int:
    """Write an error as a message; return its exit code."""
    messages.write({"error": {"type": type(error).__name__, "message": error.message, "hint": error.hint}})
    return error.exit_code


def timeout_message(error: RuntimeError) -> str | None:
    """Return the message for an error of torch after waiting too long for the other processes; None for others."""
    if not re.search(r"time[d ]*out", str(error), re.IGNORECASE):
        return None
    minutes = distributed.constants.default_pg_timeout.total_seconds() / 60
    return f"a training process waited {minutes:.0f} min for the others, which did not answer"


if __name__ == "__main__":
    sys.exit(main(RunFolder(Path(sys.argv[1])), *sys.argv[2:]))
