"""Train the networks of a recipe, and stop there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdbench.distill.training.processes import process_group
from kdbench.progress import Progress, Silent
from kdbench.recipe import Recipe
from kdbench.recipe.loading import recipe_of
from kdbench.results.run_folder import folder_of
from kdbench.workflows.stages.start import started_run
from kdbench.workflows.stages.train import train_all


def train(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Run only the training stage and return the run's folder; `run` with `resume` continues from it.

    A recipe is a value, a table, a shipped recipe's name, or a file's path.

    Where torchrun or srun started several processes, all of them call this; only rank zero reports and writes.
    """
    recipe = recipe_of(recipe)
    progress = progress if progress is not None and process_group().first else Silent()
    with started_run(recipe, folder_of(out), progress, resume=resume) as (run_data, jobs, folder):
        train_all(recipe, jobs, run_data, folder, progress, stages_after=0)
    return folder.path
