"""Whether a student's teachers are asked once, before the training, or at every step."""

from collections.abc import Sequence

from kdbench.data.augment import slot_count
from kdbench.distill.objective import ScheduledTerm
from kdbench.errors import InputError
from kdbench.recipe import Student, Trained, Training


def is_cached(entry: Trained, terms: Sequence[ScheduledTerm], training: Training) -> bool:
    """Return whether the teachers' logits are computed ahead and kept.

    With `cache` "auto" they are where that is exact, apart from rounding to float16, and no more work than asking at
    every step. Raises InputError where `cache` is "on" and cached logits would be wrong.
    """
    if not isinstance(entry, Student) or entry.cache == "off":
        return False
    taught = [term for term in terms if term.method.taught]
    reason = _why_wrong(entry, taught)
    if entry.cache == "on":
        if reason is not None:
            hint = 'choose cache = "auto" or "off"'
            raise InputError(f"student {entry.name!r} asks for cached logits, but {reason}", hint)
        return True
    return reason is None and (slot_count(entry.data.augment) or 0) <= _taught_epochs(taught, training)


def _why_wrong(student: Student, taught: Sequence[ScheduledTerm]) -> str | None:
    """Return why cached logits would not be those of the images that the student sees, or would not do."""
    augment = student.data.augment
    if not taught:
        return "no term listens to a teacher"
    if augment.mixes:
        return "mixup and cutmix show it images that no teacher has seen before"
    if slot_count(augment) is None:
        return (
            f"its images come in {augment.distinct_views} views, too many to keep; data.augment.views = 16 shows each "
            "in 16"
        )
    if any(term.method.teacher_layers for term in taught):
        return "it is taught by features, and logits alone are kept"
    return None


def _taught_epochs(taught: Sequence[ScheduledTerm], training: Training) -> int:
    return sum(any(term.holds(epoch) for term in taught) for epoch in range(training.last_epoch))
