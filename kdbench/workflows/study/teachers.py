"""The teachers of a recipe's jobs: networks that run beside the student, cached logits, or arrays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from kdbench.data.augment import slot_count
from kdbench.data.batches import Batches
from kdbench.distill.objective import ScheduledTerm
from kdbench.distill.teaching.stored_logits import ArrayTeacher, load_logits
from kdbench.distill.teaching.teachers import LiveTeacher, Teacher, cached_teacher
from kdbench.distill.training import fit
from kdbench.errors import InputError, StorageError
from kdbench.files import storage
from kdbench.progress import Progress
from kdbench.recipe import Recipe, Student, Trained, Training
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.study.model_sources import file_hash
from kdbench.workflows.study.plan import Job
from kdbench.workflows.study.run_data import RunData
from kdbench.workflows.study.teacher_forms import form_of


def build_teachers(
    job: Job,
    networks: Sequence[nn.Module],
    terms: Sequence[ScheduledTerm],
    batches: Batches,
    training: Training,
    run_data: RunData,
    folder: RunFolder,
    progress: Progress,
) -> list[Teacher]:
    """Return a job's teachers, one for each of `networks`; none if no term needs a teacher.

    `batches` are of the job's part of `run_data`, for which missing caches are filled.
    """
    if not any(term.method.needs_teacher for term in terms):
        return []
    cached, content = is_cached(job.entry, terms, training), run_data.part_of(job.entry.data).content
    exact = batches.labels.dtype == np.float32  # predicted numbers
    options: dict[str, Any] = {"precision": training.precision, "images": content, "exact": exact, "progress": progress}

    def build(teacher: Job, network: nn.Module) -> Teacher:
        if teacher.logits is not None:
            return stored_teacher(job, teacher, run_data)
        if not cached:
            return LiveTeacher(network, channels_last=batches.channels_last)
        return cached_teacher(_cache_folder(folder), network, _identity(teacher, run_data, folder), batches, **options)

    return [build(teacher, network) for teacher, network in zip(job.teachers, networks, strict=True)]


def require_different_teachers(recipe: Recipe, jobs: Sequence[Job], data: str) -> None:
    """Raise InputError for a student of several teachers, two of which would be the same network.

    Equal entries train the same weights from one seed: their ensemble is a single teacher. `data` is the content hash
    of the images and labels.
    """
    keys: dict[str, str] = {}
    for job in jobs:
        if not job.learns or len(job.teachers) < 2 or job.of_seed != recipe.seeds[0]:
            continue
        names: dict[str, str] = {}
        for teacher in job.teachers:
            if teacher.id not in keys:
                keys[teacher.id] = teacher.key(recipe, data)
            name, other = teacher.entry.name, names.setdefault(keys[teacher.id], teacher.entry.name)
            if name != other:
                ready = teacher.entry.is_ready
                hint = "name another file" if ready else "set seed_offset = 1 in one of them, or leave one out"
                equal = "file" if ready else "settings and seed"
                message = f"student {job.entry.name!r} learns from {other!r} and {name!r}, which are the same network"
                raise InputError(f"{message}: they have the same {equal}", hint)


def stored_teacher(job: Job, teacher: Job, run_data: RunData) -> ArrayTeacher:
    """Return a teacher that is a file of logits, for a job's training part.

    Raises InputError if the file does not fit the data, and for a job whose images change.
    """
    assert teacher.logits is not None, "only a teacher of logits is an array"
    augment, name = job.entry.data.augment, job.entry.name
    if augment.mixes or augment.distinct_views > 1 or augment.transform is not None:
        message = f"student {name!r} uses changed images, but {teacher.entry.name!r} has logits of unchanged ones"
        raise InputError(message, f'set student.{name}.data.augment = "none"')
    samples = run_data.part_of(job.entry.data).split.samples
    all_samples = np.sort(np.concatenate([run_data.train.samples, run_data.validation.samples]))
    return ArrayTeacher(load_logits(teacher.logits, samples, run_data.dataset.outputs, all_samples=all_samples))


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
        if obstacle is None:
            return True
        message = f"student {entry.name!r} has cache on, but {obstacle}"
        raise InputError(message, 'choose cache = "auto" or "off"')
    epochs = sum(any(term.is_active(epoch) for term in teacher_terms) for epoch in range(training.last_epoch))
    return obstacle is None and (slot_count(entry.data.augment) or 0) <= epochs


def _cache_obstacle(student: Student, teacher_terms: Sequence[ScheduledTerm]) -> str | None:
    """Return why cached logits would differ from the teacher's on the student's images, or would not be enough."""
    augment = student.data.augment
    if not teacher_terms:
        return "no term needs a teacher"
    if augment.transform is not None:
        return "its transform makes images that the teacher has not seen before"
    if augment.mixes_every_step:
        return "mixup and cutmix make new images in every step; data.augment.views = 16 mixes each image in 16 ways"
    if slot_count(augment) is None:
        views = f"{augment.distinct_views} views, too many to cache"
        return f"its images come in {views}; data.augment.views = 16 shows each in 16"
    if any(term.method.teacher_layers for term in teacher_terms):
        return "a term needs the teacher's features, and only logits are cached"
    return None


def _cache_folder(folder: RunFolder) -> Path:
    """Create and return the folder of cached logits: in the run's folder, or in KDBENCH_CACHE, which runs can share."""
    shared = storage.shared_cache()
    try:
        return storage.make_folder((shared or folder.path / "cache") / "teacher-logits")
    except StorageError as error:
        if shared is None:
            raise
        raise StorageError(error.message, "set KDBENCH_CACHE to a folder you may write to, or unset it") from error


def _identity(job: Job, run_data: RunData, folder: RunFolder) -> str:
    """Return a hash of a teacher's network: its architecture, its weights and code, and how its input differs."""
    model = job.entry.model_dump(mode="json", include={"model", "quantize", "sub_students"})
    form = form_of(job, run_data)
    if form is None or form.facts is None:
        model["weights"] = storage.sha256(folder.checkpoint(job.id) / fit.WEIGHTS)
    else:
        assert job.weights is not None, "an ONNX teacher has a file"
        model["weights"] = file_hash(job.weights)
    if form is not None:
        model["input"] = {"columns": form.classes and form.classes.columns, **form.spec.model_dump(mode="json")}
    if job.code:
        model["code"] = job.code
    return storage.content_hash(model)
