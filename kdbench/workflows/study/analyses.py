"""The analyses of a recipe's models: the images they were trained on, and the students they are contrasted with."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.data.reading.images import fit_images
from kdbench.data.selection import stratified
from kdbench.evaluate.gains import GAINS
from kdbench.evaluate.predictions import Analyses, TrainingImages
from kdbench.files import storage
from kdbench.recipe import Examples, Recipe, Student
from kdbench.results.preprocessing import Geometry
from kdbench.workflows.study.plan import Job
from kdbench.workflows.study.run_data import RunData, TrainingPart


def analyses_of(
    recipe: Recipe,
    jobs: list[Job],
    run_data: RunData,
    geometries: Collection[Geometry] = (),
    compressed: Mapping[str, str] | None = None,
) -> Analyses:
    """Return the analyses of the jobs' models, by their ids, and of their variants.

    `geometries` are those in which pretrained teachers take the images; their own training images are not known.
    `compressed` maps the ids of variants to the jobs whose networks they were made from.
    """
    parts = {job.id: run_data.part_of(job.entry.data) for job in jobs if not job.entry.is_ready}
    images = {id(part): _training_images(part, recipe.analysis.train_samples, geometries) for part in parts.values()}
    training = {id_: images[id(part)] for id_, part in parts.items()}
    training |= {id_: training[job] for id_, job in (compressed or {}).items() if job in training}
    independents = LabelOnlyStudents(jobs)
    baselines = baselines_of(recipe, jobs, independents)
    return Analyses(
        class_names=run_data.dataset.class_names,
        training=training,
        independent={job.id: other.id for job in jobs if (other := independents.of(job)) is not None},
        baselines={id_: tuple(other.id for other in others) for id_, others in baselines.items()},
        std=recipe.analysis.std,
    )


def baselines_of(recipe: Recipe, jobs: Sequence[Job], independents: "LabelOnlyStudents") -> Mapping[str, list[Job]]:
    """Return the jobs that each job's accuracy is compared with, of the same seed, by its id.

    They are the student that was trained on the labels of the same images alone, if there is one, and those that the
    recipe's reported differences in an accuracy subtract.
    """
    by_name = {(job.entry.name, job.of_seed): job for job in jobs if job.part is None}
    subtracted = subtracted_names(recipe)
    baselines: dict[str, list[Job]] = {}
    for job in by_name.values():
        alone = independents.of(job)
        others = [alone] if alone is not None and _differ_by_teachers(job, alone) else []
        names = subtracted.get(job.entry.name, ())
        others += [other for name in names if (other := by_name.get((name, job.of_seed))) is not None]
        if others:
            baselines[job.id] = list({other.id: other for other in others}.values())
    return baselines


def subtracted_names(recipe: Recipe) -> Mapping[str, Sequence[str]]:
    """Return the names of the models that the reported differences in an accuracy subtract, by the first model's."""
    subtracted: dict[str, list[str]] = {}
    for number in recipe.reported:
        if number.minus is not None and f"{number.metric}_gain" in GAINS and not number.axes:
            subtracted.setdefault(number.model, []).append(number.minus)
    return subtracted


class LabelOnlyStudents:
    """The students of `jobs` that were trained on labels alone: the comparison shows what distillation changed.

    Quantized and fused students, and those that start from another model, are left out. A look-up takes constant time.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._first: dict[tuple[Any, ...], Job] = {}
        for job in jobs:
            changed = job.start is not None or bool(job.parts)
            entry = job.entry
            if isinstance(entry, Student) and not entry.terms and entry.quantize is None and not changed:
                for key in self._keys(job):
                    self._first.setdefault(key, job)

    def of(self, job: Job) -> Job | None:
        """Return the student with a job's network and seed; None if there is none, or if the job has no teacher.

        Of several, the one with the most in common is returned: initial weights count most, then training images, then
        their augmentation, then the teacher.
        """
        return next((self._first[key] for key in self._keys(job) if key in self._first), None) if job.learns else None

    @staticmethod
    def _keys(job: Job) -> Iterator[tuple[Any, ...]]:
        """Yield keys that a job may share with others, those with the most in common first."""
        required = (job.of_seed, storage.content_hash(job.entry.model.model_dump(mode="json")))
        teacher = job.teachers[0].id if job.teachers else None
        optional = (job.seed, _images(job), job.entry.data.augment, teacher)
        for shared in product((True, False), repeat=len(optional)):
            yield (*required, shared, *(value for value, is_shared in zip(optional, shared, strict=True) if is_shared))


def _differ_by_teachers(job: Job, alone: Job) -> bool:
    """Return whether a distilled student is that of labels alone but for its teachers: its network, start and images.

    A student that is quantized, pruned or begins with another model's weights is not; nor is one without training.
    """
    entry = job.entry
    changed = job.start is not None or (isinstance(entry, Student) and entry.quantize is not None)
    same_start = (job.weights, entry.weights_key) == (alone.weights, alone.entry.weights_key)
    return not changed and same_start and not alone.entry.is_ready and _images(alone) == _images(job)


def _images(job: Job) -> Examples:
    """Return what determines a job's training images and their labels."""
    return job.entry.data.without_augmentation


def fixed_sample(labels: NDArray[Any], samples: int) -> NDArray[np.bool_]:
    """Return a fixed choice of about `samples` of the samples with these labels, (N,) or (N, D), as a mask (N,).

    It has the same share of each class, at least one sample of each. If there are more than `samples`, it is not all.
    """
    chosen = np.full(len(labels), samples >= len(labels))
    if 0 < samples < len(labels):
        chosen[stratified(labels, samples / len(labels), seed=0)[1]] = True
    return chosen


def _training_images(part: TrainingPart, samples: int, geometries: Collection[Geometry]) -> TrainingImages:
    sample = fixed_sample(part.true_labels, samples)
    kept = sample.copy()
    kept[part.flipped] = True
    inputs = part.split.inputs[kept]
    in_geometry = {geometry: fit_images(inputs, geometry) for geometry in geometries}
    return TrainingImages(inputs, part.split.labels[kept], part.true_labels[kept], sample[kept], in_geometry)
