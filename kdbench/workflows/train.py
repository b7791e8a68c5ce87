"""The workflow of `kdbench train`: train the networks of a recipe, without exporting or measuring them."""

from pathlib import Path

from kdbench.distill.training.processes import process_group
from kdbench.measure.energy.rounds import require_estimator
from kdbench.progress import Progress, Silent
from kdbench.recipe import Recipe
from kdbench.results.run_folder import folder_of
from kdbench.workflows.stages.start import report_on_rank_zero, started_run
from kdbench.workflows.stages.train import train_all


def train(
    recipe: Recipe, out: str | Path | None = None, *, resume: bool = False, progress: Progress | None = None
) -> Path:
    """Run only the training stage and return the run's folder; `run` with `resume` continues from it.

    If torchrun or srun started several processes, all of them call this; only rank zero reports and writes.
    """
    with report_on_rank_zero():
        require_estimator(recipe.measure)
    progress = progress if progress is not None and process_group().first else Silent()
    with started_run(recipe, folder_of(out), progress, resume=resume) as (run_data, jobs, folder):
        train_all(recipe, jobs, run_data, folder, progress, stages_after=0)
    return folder.path
