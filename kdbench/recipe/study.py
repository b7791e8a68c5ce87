"""The recipe: one data set, teachers, students, and what to measure."""

from collections.abc import Mapping
from functools import cached_property
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from kdbench.files import storage
from kdbench.recipe.paths import located
from kdbench.recipe.sweeps.points import with_points
from kdbench.recipe.tables.data import Data
from kdbench.recipe.tables.measure import Analysis, Measure
from kdbench.recipe.tables.models import Student, Teacher
from kdbench.recipe.tables.named import require_unique
from kdbench.recipe.tables.reported import Reported
from kdbench.recipe.tables.training import Training
from kdbench.recipe.tables.variants import Variant, in_order
from kdbench.registry import suggestion
from kdbench.user_input.validation import SMALL_NAME, Value, added_later

MAX_SEEDS = 1000
MAX_TRAININGS = 100_000
_DEEPEST = 200  # models that learn from each other in a row
_LISTED = 12  # names in a message

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Recipe(Value):
    """A complete study.

    `training` and the training examples in `data` are defaults, which the tables of a teacher or student override key
    by key. With several `seeds` every model is trained once per seed, and reported accuracies are means over seeds.
    `folder` is where the recipe's file is: its paths are relative to it (see `located`). `plugins` are Python files or
    modules to import first, which may register models, methods, data sets and transforms. A `variant` is a teacher, a
    student or another variant, compressed after training. `track` names the experiment trackers that log each training.
    `reported` are the published numbers of a study, which the report compares with those of the run.

        >>> recipe = kdbench.load_recipe("digits")
        >>> recipe.name, [student.name for student in recipe.student], len(recipe.hash())
        ('digits', ['student-alone', 'student-kd', 'student-hint'], 64)
    """

    name: str = Field(pattern=SMALL_NAME, max_length=60)
    title: str = ""
    folder: str | None = added_later(None)
    plugins: tuple[str, ...] = added_later(())
    seeds: tuple[Seed, ...] = Field(default=(0,), max_length=MAX_SEEDS)
    data: Data
    training: Training = Training()
    teacher: tuple[Teacher, ...] = Field(min_length=1)
    student: tuple[Student, ...] = ()
    variant: tuple[Variant, ...] = added_later(())
    measure: Measure = Measure()
    analysis: Analysis = Analysis()
    track: tuple[str, ...] = added_later(())
    reported: tuple[Reported, ...] = added_later(())

    @field_validator("plugins", "track", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _expanded(cls, value: Any) -> Any:
        return with_points(value) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        names = [*(teacher.name for teacher in self.teacher), *(student.name for student in self.student)]
        variants = in_order(self.variant, names)
        everyone = [*names, *(variant.name for variant in variants)]
        require_unique(everyone)
        for student in self.student:
            for other in needed_by(student):
                if other not in self._by_name:
                    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
                    hint = suggestion(other, names, f"it has {', '.join(names[:_LISTED])}{more}")
                    message = f"student {student.name!r} names the model {other!r}, which the recipe does not have"
                    raise ValueError(f"{message}; {hint}")
        for number in self.reported:
            number.check(everyone)
        for student in self.student:
            self._check_pruned(student)
            self._check_start(student)
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: give at least one, and each only once")
        if (trainings := len(names) * len(self.seeds)) > MAX_TRAININGS:
            raise ValueError(f"seeds: {trainings:,} trainings, but a recipe may have at most {MAX_TRAININGS:,}")
        self._check_order()
        logits = {teacher.name for teacher in self.teacher if teacher.logits is not None}
        if variant := next((variant for variant in variants if variant.of in logits), None):
            message = f"variant {variant.name!r} is of {variant.of!r}, which is a file of logits without a network"
            raise ValueError(f"{message}: name another model in of")
        return self

    def _check_start(self, student: Student) -> None:
        if student.start is None:
            return
        source = self.entry(student.start.model) if student.start.model else self.teachers_of(student)[0]
        if source.model.name in {"onnx", "logits"}:
            message = f"student {student.name!r} starts from the weights of {source.name!r}, which has none"
            raise ValueError(f"{message}: it is a file of {source.model.name}; name another model in start")

    def _check_pruned(self, student: Student) -> None:
        if student.prune is None:
            return
        source = self.pruned_from(student)
        what = f"student {student.name!r} is pruned from {source.name!r}"
        if source.model.name in {"onnx", "logits"}:
            raise ValueError(f"{what}, a file of {source.model.name} without a network; name another model in prune.of")
        if isinstance(source, Student) and (source.sub_students is not None or source.quantize is not None):
            key = "quantize" if source.quantize is not None else "sub_students"
            raise ValueError(f"{what}, which has {key}; name another model in prune.of")
        if student.model != source.model:
            raise ValueError(f"{what}, but its own model is another one; leave out its model")

    def _check_order(self) -> None:
        depths: dict[str, int] = {}
        for entry in self.training_order():
            needed = needed_by(entry) if isinstance(entry, Student) else ()
            depths[entry.name] = 1 + max((depths[name] for name in needed), default=0)
            if depths[entry.name] > _DEEPEST:
                raise ValueError(f"student {entry.name!r} is the last in a chain of more than {_DEEPEST} students")
        for student in self.student:
            if student.name not in depths:
                raise ValueError(f"student {student.name!r} is its own teacher, directly or through other students")

    def training_order(self) -> list[Teacher | Student]:
        """Return the models, each after those it needs, otherwise in the recipe's order, without those in a cycle."""
        entries: list[Teacher | Student] = [*self.teacher, *self.student]
        needed = [set(needed_by(entry)) if isinstance(entry, Student) else set() for entry in entries]
        needing: dict[str, list[int]] = {}
        for place, names in enumerate(needed):
            for name in names:
                needing.setdefault(name, []).append(place)
        ready = [place for place, names in enumerate(needed) if not names]
        heapify(ready)
        order = []
        while ready:
            entry = entries[heappop(ready)]
            order.append(entry)
            for place in needing.get(entry.name, ()):
                needed[place].discard(entry.name)
                if not needed[place]:
                    heappush(ready, place)
        return order

    @cached_property
    def _by_name(self) -> dict[str, Teacher | Student]:
        entries: tuple[Teacher | Student, ...] = (*self.teacher, *self.student)
        return {entry.name: entry for entry in reversed(entries)}  # the first of two with one name

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with changed fields, as pydantic does, without what was computed from the former ones."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("_by_name", None)
        return copied

    def entry(self, name: str) -> Teacher | Student:
        """Return the teacher or student with this name."""
        return self._by_name[name]

    def teachers_of(self, student: Student) -> tuple[Teacher | Student, ...]:
        """Return the models that `student` learns from; it is compared with the first."""
        return tuple(self.entry(name) for name in student.teacher) or self.teacher[:1]

    def pruned_from(self, student: Student) -> Teacher | Student:
        """Return the model that `student`, which has `prune`, is pruned from."""
        assert student.prune is not None, "it is pruned"
        return self.entry(student.prune.of) if student.prune.of is not None else self.teachers_of(student)[0]

    def variants(self) -> tuple[Variant, ...]:
        """Return the variants, each after the one it comes from."""
        return in_order(self.variant, [entry.name for entry in (*self.teacher, *self.student)])

    def located(self, path: str) -> Path:
        """Return where a path of the recipe is: in its folder, or else relative to the working directory."""
        return located(path, self.folder)

    def resolved(self) -> dict[str, Any]:
        """Return the recipe as JSON values, with all defaults."""
        return self.model_dump(mode="json")

    def published(self) -> dict[str, Any]:
        """Return the recipe as JSON values without the local folders of its file, its data and its models' files."""
        content = {key: value for key, value in self.resolved().items() if key != "folder"}
        content["data"]["root"] = None
        for entry in (*content["teacher"], *content["student"]):
            for key in ("weights", "logits"):
                if entry.get(key) is not None:
                    entry[key] = Path(entry[key]).name
            of_input = entry.get("input") or {}
            if isinstance(of_input.get("labels"), str):
                of_input["labels"] = Path(of_input["labels"]).name
        return content

    def hash(self) -> str:
        """Return the SHA-256 of the resolved recipe.

            >>> kdbench.load_recipe("digits").hash() == kdbench.load_recipe("digits").hash()
            True

        Trackers, a study's numbers, and the location of the recipe's file, data and weights are left out.
        """
        content = {key: value for key, value in self.published().items() if key not in {"track", "reported"}}
        content["data"] = {key: value for key, value in content["data"].items() if key not in {"root", "download"}}
        return storage.content_hash(content)


def needed_by(student: Student) -> tuple[str, ...]:
    """Return the models named in `student`, which must be trained before it."""
    start = (student.start.model,) if student.start is not None and student.start.model is not None else ()
    source = (student.prune.of,) if student.prune is not None and student.prune.of is not None else ()
    return (*student.teacher, *start, *source)
