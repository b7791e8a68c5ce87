"""What a training took, for a network whose parts were trained before it: the parts' time and energy are its own."""

from collections.abc import Sequence

from kdbench.results.cards import EnergyUse, Training


def merge_part_training(own: Training, parts: Sequence[Training]) -> Training:
    """Return the summary of a fused network's training: its parts' seconds and joules added, their objective first.

    Energy is known only of sources that metered every part.
    """
    everything = (*parts, own)
    energy = _added([training.energy for training in everything])
    reasons = [training.unmetered for training in everything if training.unmetered is not None]
    part = parts[0]
    alone = f"{len(parts)} parts alone, {part.epochs} epochs each: {part.objective}"
    return own.model_copy(
        update={
            "objective": f"{alone}; fused: {own.objective}",
            "seconds": sum(training.seconds for training in everything),
            "energy": energy,
            "unmetered": None if energy else next(iter(reasons), "its parts were metered by different sources"),
            "teacher": part.teacher,
            "teacher_s": sum(training.teacher_s for training in everything),
        }
    )


def _added(uses: Sequence[tuple[EnergyUse, ...]]) -> tuple[EnergyUse, ...]:
    """Return the sums of the uses that every training has; the uncertainties of one meter add up."""
    added = []
    for first in uses[0]:
        same = [use for each in uses for use in each if (use.source, use.scope) == (first.source, first.scope)]
        if len(same) == len(uses):
            joules, half = sum(use.energy_j for use in same), sum(use.half_width_j for use in same)
            added.append(first.model_copy(update={"energy_j": joules, "half_width_j": half}))
    return tuple(added)
