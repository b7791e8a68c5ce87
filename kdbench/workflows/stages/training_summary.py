"""What a complete training cost, for the card of its network: the parts of a fused network count too."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

from kdbench.distill.training import fit
from kdbench.recipe import Recipe
from kdbench.results import cards
from kdbench.results.cards import EnergyUse
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.study.plan import Job
from kdbench.workflows.study.run_data import RunData


def training_summary(job: Job, recipe: Recipe, run_data: RunData, folder: RunFolder) -> cards.Training | None:
    """Return the summary of a job's complete training, including its sub-networks'; None if there is none."""
    if job.entry.is_ready:
        return None
    training = fit.finished(folder.checkpoint(job.id), job.key(recipe, run_data.content))
    parts = [summary for part in job.parts if (summary := training_summary(part, recipe, run_data, folder)) is not None]
    return merge_part_training(training, parts) if training is not None and parts else training


def merge_part_training(fused: cards.Training, parts: Sequence[cards.Training]) -> cards.Training:
    """Return the summary of a fused network's training, with the seconds, joules and objective of its parts.

    Energy is known only for sources that metered every part.
    """
    trainings = (*parts, fused)
    energy = _sum_uses([training.energy for training in trainings])
    reasons = [training.unmetered for training in trainings if training.unmetered is not None]
    part = parts[0]
    parts_objective = f"{len(parts)} parts alone, {part.epochs} epochs each: {part.objective}"
    update = {
        "objective": f"{parts_objective}; fused: {fused.objective}",
        "seconds": sum(training.seconds for training in trainings),
        "energy": energy,
        "unmetered": None if energy else next(iter(reasons), "its parts were metered by different sources"),
        "teacher": part.teacher,
        "teacher_s": sum(training.teacher_s for training in trainings),
    }
    return fused.model_copy(update=update)


def _sum_uses(uses: Sequence[tuple[EnergyUse, ...]]) -> tuple[EnergyUse, ...]:
    """Return the sums of the uses that every training has; uncertainties of one meter add up."""
    by_meter = defaultdict(list)
    for use in chain.from_iterable(uses):
        by_meter[use.source, use.scope].append(use)
    sums = []
    for of_meter in by_meter.values():
        if len(of_meter) == len(uses):
            total = {name: sum(getattr(use, name) for use in of_meter) for name in ("energy_j", "half_width_j")}
            sums.append(of_meter[0].model_copy(update=total))
    return tuple(sums)
