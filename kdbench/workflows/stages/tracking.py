"""The trackers of a run: opened for the training of each model, and again for its measured values."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from kdbench.distill.tracker import GuardedTracker, Parameter, TrackedModel, opened
from kdbench.distill.trackers import TRACKERS
from kdbench.distill.training import fit
from kdbench.errors import InputError
from kdbench.progress import Progress
from kdbench.recipe import Recipe
from kdbench.results.records import RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.log import flat, values_of
from kdbench.workflows.study.plan import Job


def trackers_of(
    job: Job, recipe: Recipe, key: str, folder: RunFolder, progress: Progress
) -> AbstractContextManager[list[GuardedTracker]]:
    """Open the recipe's trackers for a job whose training has the key `key`."""
    parameters = parameters_of(job, recipe) if recipe.track else {}
    models = {
        name: TrackedModel(job.id, recipe.name, folder.tracking / name, key, parameters)
        for name in dict.fromkeys(recipe.track)
    }
    return opened(models, TRACKERS, progress)


def track_results(
    recipe: Recipe, jobs: Sequence[Job], record: RunRecord, data: str, folder: RunFolder, progress: Progress
) -> None:
    """Log the measured values of the models of `jobs`; `data` is the content hash of the data."""
    for job in jobs if recipe.track else ():
        key = job.key(recipe, data)
        values, training = values_of(record, job.id), fit.finished(folder.checkpoint(job.id), key)
        if not values or training is None:
            continue
        try:
            with trackers_of(job, recipe, key, folder, progress) as trackers:
                for tracker in trackers:
                    tracker.begin(training.curve)
                    tracker.results(values)
        except InputError as error:
            progress.note(error.message)  # the run is complete without it


def parameters_of(job: Job, recipe: Recipe) -> dict[str, Parameter]:
    """Return a job's values in the recipe by dotted key, with its data set and seed; unset keys are left out."""
    entry = job.entry.model_dump(mode="json", exclude={"name", "family", "axes", "seed_offset"})
    return {"seed": job.seed, "data.name": recipe.data.name, **dict(flat(entry))}
