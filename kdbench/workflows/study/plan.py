"""The plan of a run: the trainings that a recipe needs, in order, and what each result depends on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.data.selection import key_of
from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.plugins import Source
from kdbench.recipe import Recipe, Student, Teacher, Trained, Training
from kdbench.user_input.options import labels
from kdbench.workflows.study.model_sources import file_hash, neighbours_hash


@dataclass(frozen=True)
class Job:
    """One network to train with the seed `seed`: the recipe's seed `of_seed`, shifted by the entry's offset.

    `teachers` are the jobs it learns from; it is compared with the first. `start` is the job whose weights initialize
    it, at least in part, or that it is pruned from. `parts` are the jobs of the sub-networks that it fuses. A
    sub-network's job has a number `part`, from 1; it is trained but not measured. `weights` is the file that it starts
    from, `logits` the file of a teacher without a network, and `code` are the sources of the user code that it runs.
    """

    id: str
    entry: Trained
    seed: int
    of_seed: int
    teachers: tuple["Job", ...] = ()
    start: "Job | None" = None
    parts: tuple["Job", ...] = ()
    part: int | None = None
    weights: Path | None = None
    logits: Path | None = None
    code: tuple[Source, ...] = ()

    @property
    def teacher(self) -> "Job | None":
        """The job that it is compared with; None if its teacher has no network."""
        return self.teachers[0] if self.teachers and self.teachers[0].logits is None else None

    @property
    def training(self) -> Training:
        """Its training options; the fused network of sub-students has separate ones."""
        if self.parts and isinstance(self.entry, Student) and self.entry.sub_students is not None:
            return self.entry.sub_students.head
        return self.entry.training

    @property
    def learns(self) -> bool:
        """Whether teachers take part in its training; the head of fused parts learns from the labels."""
        return isinstance(self.entry, Student) and bool(self.entry.terms) and not self.parts

    def key(self, recipe: Recipe, data: str) -> str:
        """Return the hash of what the training's result depends on, except versions of libraries.

        `data` is the content hash of the images and labels.
        """
        causes: dict[str, Any] = {
            "data": {"content": data, **recipe.data.model_dump(mode="json", exclude=_UNHASHED_DATA)},
            "model": self.entry.model_dump(mode="json", exclude=_UNHASHED_ENTRY) | self._files(),
            "seed": self.seed,
            "teachers": [teacher.key(recipe, data) for teacher in self.teachers] if self.learns else [],
            "start": self.start.key(recipe, data) if self.start else None,
            "parts": [part.key(recipe, data) for part in self.parts],
        }
        if self.code:
            causes["code"] = self.code
        return storage.content_hash(causes)

    def _files(self) -> dict[str, str]:
        """Return the hashes of its files, and of those that describe a pretrained teacher; paths do not count."""
        if self.logits is not None:
            return {"logits": file_hash(self.logits)}
        if self.weights is None:
            return {}
        files = {"weights": file_hash(self.weights)}
        if isinstance(self.entry, Teacher) and self.entry.is_ready and (description := neighbours_hash(self.weights)):
            files["described"] = description
        return files


# The data's location, and keys that the entry's table repeats.
_UNHASHED_DATA = {"name", "root", "download", "augment", "subset", "label_noise", "target_noise"}

_UNHASHED_ENTRY = {"name", "teacher", "family", "axes"}  # names, and references that are hashed as jobs


def plan(recipe: Recipe, code: Mapping[str, Iterable[Source]] | None = None) -> list[Job]:
    """Return all trainings of a recipe, each after those it needs.

    A model's id is its name, with several seeds its name and seed. `code` are the sources of entries, by name.
    """
    jobs: list[Job] = []
    order = recipe.training_order()
    for seed in recipe.seeds:
        done: dict[str, Job] = {}
        for entry in order:
            entry_jobs = _jobs(recipe, entry, seed, done, tuple((code or {}).get(entry.name, ())))
            done[entry.name] = entry_jobs[-1]
            jobs += entry_jobs
    return jobs


def _jobs(
    recipe: Recipe, entry: Teacher | Student, seed: int, done: dict[str, Job], code: tuple[Source, ...]
) -> list[Job]:
    """Return an entry's jobs: those of its sub-networks, if it has any, and then its own."""
    # A hash rather than the sum, so that no two pairs of seed and offset coincide.
    shifted = key_of(seed, entry.seed_offset) % 2**31 if entry.seed_offset else seed
    weights = None if entry.weights is None else recipe.located(entry.weights)
    common: dict[str, Any] = {"entry": entry, "seed": shifted, "of_seed": seed, "weights": weights, "code": code}
    name = entry.name + (f"-seed{seed}" if len(recipe.seeds) > 1 else "")
    if isinstance(entry, Teacher):
        common["entry"] = _with_labels(entry, recipe)
        logits = None if entry.logits is None else recipe.located(entry.logits)
        return [Job(name, **common, logits=logits)]
    common["teachers"] = tuple(done[teacher.name] for teacher in recipe.teachers_of(entry))
    if entry.sub_students is not None:
        parts = tuple(
            Job(f"{name}-part{part}", **{**common, "seed": key_of(shifted, part) % 2**31}, part=part)
            for part in range(1, entry.sub_students.count + 1)
        )
        return [*parts, Job(name, **common, parts=parts)]
    if entry.prune is not None:
        common["start"] = done[recipe.pruned_from(entry).name]
    if entry.start is not None:
        common["start"] = done[entry.start.model] if entry.start.model is not None else common["teachers"][0]
    return [Job(name, **common)]


def _with_labels(entry: Teacher, recipe: Recipe) -> Teacher:
    """Return a teacher with the names of its outputs instead of the file that lists them."""
    if entry.input is None or not isinstance(entry.input.labels, str):
        return entry
    path = recipe.located(entry.input.labels)
    try:
        names = labels(str(path))
    except ValueError as error:
        hint = "give a list of names, or a file of one name a line"
        raise InputError(f"{entry.name}: input.labels: {error}", hint) from error
    return entry.model_copy(update={"input": entry.input.model_copy(update={"labels": names})})
