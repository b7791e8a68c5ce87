"""A student of a recipe, its loss and its training, without the rest of the recipe."""

from distill.networks import batches, context, stripes

from kdbench.distill.objective import Objective, student_objective, student_terms
from kdbench.distill.tasks import TASKS
from kdbench.distill.teaching.teachers import LiveTeacher
from kdbench.distill.training import fit
from kdbench.progress import Silent
from kdbench.recipe import Student, Training

TRAIN, VALIDATION = stripes(96), stripes(48, seed=1)


def student(*terms, **keys) -> Student:
    return Student.model_validate({"name": "s", "model": "tiny", "terms": terms, **keys})


def objective_of(entry: Student, learner, *teachers, **changes) -> Objective:
    """The student's loss with teachers that are asked at every step."""
    terms = student_terms(entry, context(learner, *teachers, **changes))
    needs_teacher = any(term.method.needs_teacher for term in terms)
    live = [LiveTeacher(teacher) for teacher in teachers] if needs_teacher else []
    return student_objective(entry, terms, live, TASKS[changes.get("task", "classification")])


def training(**keys) -> Training:
    return Training.model_validate(
        {"epochs": 4, "batch": 16, "optimizer": {"name": "adam", "lr": 0.01}, "device": "cpu", "threads": 1, **keys}
    )


def run_fit(folder, learner, objective, options=None, *, train=TRAIN, progress=None):
    """Train on stripes, with seed 5."""
    options = options or training()
    channels_last = bool(options.channels_last)
    return fit.fit(
        learner,
        objective,
        batches(train, options.batch, train=True, seed=5, channels_last=channels_last),
        batches(VALIDATION, channels_last=channels_last),
        options,
        seed=5,
        folder=folder,
        key="k",
        progress=progress or Silent(),
    )


class Stops(Silent):
    """A watcher that presses Ctrl-C when an epoch has ended."""

    def __init__(self, after_epoch: int) -> None:
        self.marker = f"epoch {after_epoch}/"

    def step(self, done, total, detail=""):
        if detail.startswith(self.marker) and "loss" in detail:
            raise KeyboardInterrupt


def same_weights(one, other) -> bool:
    """Whether two state dictionaries hold the same bits under the same names."""
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)
