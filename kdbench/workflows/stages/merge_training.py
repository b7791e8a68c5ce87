"""The summary of a fused network's training, which includes the time and energy of its parts' trainings."""

from collections.abc import Sequence

from kdbench.results.cards import EnergyUse, Training


def merge_part_training(fused: Training, parts: Sequence[Training]) -> Training:
    """Return the summary of a fused network's training: its parts' seconds and joules added, their objective first.

    Energy is known only for sources that metered every part.
    """
    trainings = (*parts, fused)
    energy = _sum_uses([training.energy for training in trainings])
    reasons = [training.unmetered for training in trainings if training.unmetered is not None]
    part = parts[0]
    parts_objective = f"{len(parts)} parts alone, {part.epochs} epochs each: {part.objective}"
    return fused.model_copy(
        update={
            "objective": f"{parts_objective}; fused: {fused.objective}",
            "seconds": sum(training.seconds for training in trainings),
            "energy": energy,
            "unmetered": None if energy else next(iter(reasons), "its parts were metered by different sources"),
            "teacher": part.teacher,
            "teacher_s": sum(training.teacher_s for training in trainings),
        }
    )


def _sum_uses(uses: Sequence[tuple[EnergyUse, ...]]) -> tuple[EnergyUse, ...]:
    """Return the sums of the uses that every training has; uncertainties of one meter add up."""
    sums = []
    for first in uses[0]:
        same = [
            use
            for training_uses in uses
            for use in training_uses
            if (use.source, use.scope) == (first.source, first.scope)
        ]
        if len(same) == len(uses):
            joules, half = sum(use.energy_j for use in same), sum(use.half_width_j for use in same)
            sums.append(first.model_copy(update={"energy_j": joules, "half_width_j": half}))
    return tuple(sums)
