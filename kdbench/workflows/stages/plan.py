"""Which trainings a recipe asks for, in which order, and what the result of each depends on."""

from dataclasses import dataclass
from typing import Any

from kdbench import storage
from kdbench.data.counter_rng import key_of
from kdbench.recipe import Recipe, Student, Teacher, Trained, needed_by
from kdbench.results import cards


@dataclass(frozen=True)
class Job:
    """One network to be trained at one seed: its own, which is the recipe's, `of_seed`, but for an offset.

    `teachers` are the jobs it learns from, the first the one it is compared with; `start` is the job whose weights it
    begins with, in part; `parts` those of which it is made. A job with a `part` is such a part, counted from 1: it is
    trained, and not measured by itself.
    """

    id: str
    entry: Trained
    seed: int
    of_seed: int
    teachers: tuple["Job", ...] = ()
    start: "Job | None" = None
    parts: tuple["Job", ...] = ()
    part: int | None = None

    @property
    def teacher(self) -> "Job | None":
        """The job it is compared with."""
        return self.teachers[0] if self.teachers else None

    @property
    def role(self) -> cards.Role:
        """Whether the model teaches or learns."""
        return "student" if isinstance(self.entry, Student) else "teacher"

    @property
    def learns(self) -> bool:
        """Whether teachers are listened to in its training; the head of fused parts learns from the labels."""
        return isinstance(self.entry, Student) and bool(self.entry.terms) and not self.parts

    def key(self, recipe: Recipe, data: str) -> str:
        """Return the hash of what this training's result depends on, versions of libraries apart.

        `data` stands for the images and labels themselves, whatever they are called.
        """
        return storage.content_hash(
            {
                "data": {"content": data, **recipe.data.model_dump(mode="json", exclude=_ELSEWHERE)},
                "model": self.entry.model_dump(mode="json", exclude={"name", "teacher", "family", "axes"}),
                "seed": self.seed,
                "teachers": [teacher.key(recipe, data) for teacher in self.teachers] if self.learns else [],
                "start": self.start.key(recipe, data) if self.start else None,
                "parts": [part.key(recipe, data) for part in self.parts],
            }
        )


# Where the data lie, and what stands in the entry's own table.
_ELSEWHERE = {"name", "root", "download", "augment", "subset", "label_noise"}


def plan(recipe: Recipe) -> list[Job]:
    """Return all trainings of a recipe in an order in which everything comes after what it needs.

    A model's id is its name; with several seeds, its name and seed.
    """
    jobs: list[Job] = []
    for seed in recipe.seeds:
        done: dict[str, Job] = {}
        waiting: list[Teacher | Student] = [*recipe.teacher, *recipe.student]
        while waiting:
            entry = next(e for e in waiting if isinstance(e, Teacher) or done.keys() >= set(needed_by(e)))
            waiting.remove(entry)
            made = _jobs(recipe, entry, seed, done)
            done[entry.name] = made[-1]
            jobs += made
    return jobs


def shown(jobs: list[Job]) -> list[Job]:
    """Return the jobs whose networks are models of the recipe, not parts of one."""
    return [job for job in jobs if job.part is None]


def own_seed(seed: int, offset: int) -> int:
    """Return a model's seed: with an offset not the sum, by which one seed's model would be another's again."""
    return key_of(seed, offset) % 2**31 if offset else seed


def _jobs(recipe: Recipe, entry: Teacher | Student, seed: int, done: dict[str, Job]) -> list[Job]:
    """Return an entry's jobs: those of its parts, if it has any, and its own."""
    common: dict[str, Any] = {"entry": entry, "seed": own_seed(seed, entry.seed_offset), "of_seed": seed}
    name = entry.name + (f"-seed{seed}" if len(recipe.seeds) > 1 else "")
    if isinstance(entry, Teacher):
        return [Job(name, **common)]
    common["teachers"] = tuple(done[teacher.name] for teacher in recipe.teachers_of(entry))
    if entry.sub_students is not None:
        parts = tuple(
            Job(f"{name}-part{part}", **{**common, "seed": key_of(common["seed"], part) % 2**31}, part=part)
            for part in range(1, entry.sub_students.count + 1)
        )
        return [*parts, Job(name, **common, parts=parts)]
    if entry.start is not None:
        common["start"] = done[entry.start.model] if entry.start.model is not None else common["teachers"][0]
    return [Job(name, **common)]
