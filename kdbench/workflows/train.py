"""Train the networks of a recipe, and stop there."""

from pathlib import Path

from kdbench.distill.processes import process_group
from kdbench.progress import Progress, Silent
from kdbench.recipe import Recipe
from kdbench.workflows.stages.start import start_run, translate_disk_errors
from kdbench.workflows.stages.train import train_all


def train(recipe: Recipe, out: Path | None = None, *, resume: bool = False, progress: Progress | None = None) -> Path:
    """Run the training stage alone and return the run's folder; `run` with `resume` continues from it.

    Where torchrun or srun started several processes, all of them call this; only rank zero reports and writes.
    """
    progress = progress if progress is not None and process_group().first else Silent()
    run_data, jobs, folder = start_run(recipe, out, progress, resume=resume)
    with translate_disk_errors(folder):
        train_all(recipe, jobs, run_data, folder, progress, stages_after=0)
    return folder.path
