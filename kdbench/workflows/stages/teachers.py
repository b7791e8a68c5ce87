"""The teachers of a student's training: live, or with logits that are computed once and cached."""

import os
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from kdbench import storage
from kdbench.data.augment import slot_count
from kdbench.data.batches import Batches
from kdbench.distill import fit
from kdbench.distill.objective import ScheduledTerm
from kdbench.distill.teachers import LiveTeacher, LogitCache, Teacher
from kdbench.errors import InputError, StorageError
from kdbench.progress import Progress
from kdbench.recipe import Student, Trained, Training
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.plan import Job


def build_teachers(
    job: Job,
    networks: Sequence[nn.Module],
    terms: Sequence[ScheduledTerm],
    batches: Batches,
    training: Training,
    content: str,
    folder: RunFolder,
    progress: Progress,
) -> list[Teacher]:
    """Return a job's teachers, one for each of `networks`; none if no term needs a teacher.

    `content` is a hash of the images in `batches`, for which a cache that is missing is filled.
    """
    if not any(term.method.needs_teacher for term in terms):
        return []
    if not is_cached(job.entry, terms, training):
        return [LiveTeacher(network, channels_last=batches.channels_last) for network in networks]
    cache = _logit_cache(folder)
    return [
        cache.teacher(
            network, _identity(teacher, folder), batches, precision=training.precision, content=content,
            progress=progress,
        )
        for network, teacher in zip(networks, job.teachers, strict=True)
    ]  # fmt: skip


def is_cached(entry: Trained, terms: Sequence[ScheduledTerm], training: Training) -> bool:
    """Return whether the teachers' logits are computed before the training and cached.

    With `cache` "auto" they are if that is exact, apart from rounding to float16, and no more work than running the
    teachers at every step. Raises InputError if `cache` is "on" and cached logits would be wrong.
    """
    if not isinstance(entry, Student) or entry.cache == "off":
        return False
    teacher_terms = [term for term in terms if term.method.needs_teacher]
    obstacle = _cache_obstacle(entry, teacher_terms)
    if entry.cache == "on":
        if obstacle is not None:
            hint = 'choose cache = "auto" or "off"'
            raise InputError(f"student {entry.name!r} asks for cached logits, but {obstacle}", hint)
        return True
    epochs = sum(any(term.is_active(epoch) for term in teacher_terms) for epoch in range(training.last_epoch))
    return obstacle is None and (slot_count(entry.data.augment) or 0) <= epochs


def _cache_obstacle(student: Student, teacher_terms: Sequence[ScheduledTerm]) -> str | None:
    """Return why cached logits would differ from the teacher's on the student's images, or would not be enough."""
    augment = student.data.augment
    if not teacher_terms:
        return "no term needs a teacher"
    if augment.mixes:
        return "mixup and cutmix make images that the teacher has not seen before"
    if slot_count(augment) is None:
        return (
            f"its images come in {augment.distinct_views} views, too many to cache; data.augment.views = 16 shows each "
            "in 16"
        )
    if any(term.method.teacher_layers for term in teacher_terms):
        return "a term needs the teacher's features, and only logits are cached"
    return None


def _logit_cache(folder: RunFolder) -> LogitCache:
    """Return the cache in the run's folder, or in KDBENCH_CACHE, which several runs can share.

    Raises StorageError if the latter cannot be written to.
    """
    shared = os.environ.get("KDBENCH_CACHE")
    parent = Path(shared).expanduser() if shared else folder.path / "cache"
    try:
        return LogitCache(storage.make_folder(parent / "teacher-logits"))
    except StorageError as error:
        if not shared:
            raise
        raise StorageError(error.message, "set KDBENCH_CACHE to a folder you may write to, or unset it") from error


def _identity(job: Job, folder: RunFolder) -> str:
    """Return a hash of a trained network: its architecture and its weights."""
    weights = storage.sha256(folder.checkpoint(job.id) / fit.WEIGHTS)
    model = job.entry.model_dump(mode="json", include={"model", "quantize", "sub_students"})
    return storage.content_hash({"weights": weights, **model})
