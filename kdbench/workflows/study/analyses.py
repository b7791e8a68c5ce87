"""The analyses of a recipe's models: the images they were trained on, and the students they are contrasted with."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.data.reading.images import fit_images
from kdbench.data.selection import stratified
from kdbench.evaluate.predictions import Analyses, TrainingImages
from kdbench.recipe import Recipe, Student
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
    """Return the analyses of the jobs that are models of the recipe, by their ids, and of their variants.

    `geometries` are those in which ready teachers take the images. What these were trained on is not known.
    `compressed` maps the ids of variants to the jobs whose networks they were made of.
    """
    parts = {job.id: run_data.part_of(job.entry.data) for job in jobs if not job.entry.is_ready}
    images = {id(part): _images(part, recipe.analysis.train_samples, geometries) for part in parts.values()}
    training = {id_: images[id(part)] for id_, part in parts.items()}
    training |= {id_: training[job] for id_, job in (compressed or {}).items() if job in training}
    return Analyses(
        class_names=run_data.dataset.class_names,
        training=training,
        independent={job.id: other.id for job in jobs if (other := independent_of(job, jobs)) is not None},
        std=recipe.analysis.std,
    )


def independent_of(job: Job, jobs: list[Job]) -> Job | None:
    """Return the student that shows what distillation changed: the same network and seed, trained on labels alone.

    If there are several, return the first with the most in common: initial weights, then training images, then teacher.
    """
    if not job.learns:
        return None

    def is_alike(other: Job) -> bool:
        entry = other.entry
        changed = other.start is not None or bool(other.parts)
        on_labels_alone = isinstance(entry, Student) and not entry.terms and entry.quantize is None and not changed
        return on_labels_alone and (other.of_seed, entry.model) == (job.of_seed, job.entry.model)

    def in_common(other: Job) -> tuple[bool, ...]:
        same_teacher = other.teachers[:1] == job.teachers[:1]
        return other.seed == job.seed, other.entry.data == job.entry.data, same_teacher

    return max(filter(is_alike, jobs), key=in_common, default=None)


def drawn(labels: NDArray[Any], samples: int) -> NDArray[np.bool_]:
    """Return a fixed choice of about `samples` of the samples with these labels, (N,) or (N, D), as (N,).

    It is the same share of each class, if there are any, with at least one; unless it is everything, not all.
    """
    chosen = np.full(len(labels), samples >= len(labels))
    if 0 < samples < len(labels):
        chosen[stratified(labels, samples / len(labels), seed=0)[1]] = True
    return chosen


def _images(part: TrainingPart, samples: int, geometries: Collection[Geometry]) -> TrainingImages:
    sample = drawn(part.true_labels, samples)
    kept = sample.copy()
    kept[part.flipped] = True
    inputs = part.split.inputs[kept]
    in_geometry = {geometry: fit_images(inputs, geometry) for geometry in geometries}
    return TrainingImages(inputs, part.split.labels[kept], part.true_labels[kept], sample[kept], in_geometry)
