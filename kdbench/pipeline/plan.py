"""Which trainings a recipe asks for, in which order, and what the result of each depends on."""

from dataclasses import dataclass

from kdbench import cards, storage
from kdbench.recipe import Recipe, Student, Teacher


@dataclass(frozen=True)
class Job:
    """One model to be trained at one seed. `teacher` is the job it learns from and is compared with."""

    id: str
    entry: Teacher | Student
    seed: int
    teacher: "Job | None"

    @property
    def role(self) -> cards.Role:
        """Whether the model teaches or learns."""
        return "student" if isinstance(self.entry, Student) else "teacher"

    def key(self, recipe: Recipe, data: str) -> str:
        """Return the hash of what this training's result depends on, versions of libraries apart.

        `data` stands for the images and labels themselves, whatever they are called.
        """
        learns = isinstance(self.entry, Student) and bool(self.entry.terms)
        return storage.content_hash(
            {
                "data": {"content": data, **recipe.data.model_dump(mode="json", exclude={"name", "root", "download"})},
                "model": self.entry.model_dump(mode="json", exclude={"name", "teacher"}),
                "seed": self.seed,
                "teacher": self.teacher.key(recipe, data) if self.teacher and learns else None,
            }
        )


def plan(recipe: Recipe) -> list[Job]:
    """Return all trainings of a recipe in an order in which every teacher comes before its students.

    A model's id is its name; with several seeds, its name and seed.
    """
    jobs = []
    for seed in recipe.seeds:
        suffix = f"-seed{seed}" if len(recipe.seeds) > 1 else ""
        teachers = {t.name: Job(t.name + suffix, t, seed, None) for t in recipe.teacher}
        students = [Job(s.name + suffix, s, seed, teachers[recipe.teacher_of(s).name]) for s in recipe.student]
        jobs += [*teachers.values(), *students]
    return jobs
