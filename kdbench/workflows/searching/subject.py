"""The model of a recipe that a search optimises, and the models of a trial by the names in the goal."""

from collections.abc import Mapping, Sequence

from kdbench.data.dataset import Task
from kdbench.errors import InputError
from kdbench.recipe import Measure, Recipe, Student
from kdbench.recipe.sweeps.goal import VALIDATED, Goal
from kdbench.recipe.sweeps.points import Point
from kdbench.registry import suggestion
from kdbench.workflows.searching.trial_result import IdsByName

_COMPARED = {"stream", "paced"}  # waiting times of a server are not compared: they depend on chance
# The modes that give a metric, or the metrics of a group.
_MODES = {
    "latency_ratio": _COMPARED,
    "latency": {*_COMPARED, "server"},
    "relative": _COMPARED,
    "throughput": {"stream"},
    "offline": {"offline"},
}


def subject_of(goal: Goal, recipe: Recipe, point: Point) -> str:
    """Return the entry of the recipe that a goal is about: the one it names, or else the student that the axes change.

    Raises InputError if the axes change several or none, or not the named one, and for a name that the recipe does not
    have.
    """
    for number in goal.numbers:
        if number.model is not None and number.model not in point.entries:
            hint = suggestion(number.model, point.entries)
            raise InputError(f"goal {str(goal)!r}: the recipe has no model {number.model!r}", hint)
    changed = _changed_entries(point)
    if not changed:
        hint = "give an axis several values or a range, such as terms.0.temperature=1..10"
        raise InputError("the axes of the search change no model: each has only one value", hint)
    if goal.number.model is not None and goal.number.model not in changed:
        message = f"goal {str(goal)!r}: the axes do not change {goal.number.model}, so all trials would be equal"
        raise InputError(message, f"name a model that they change: {', '.join(changed)}")
    name = goal.number.model or _changed(goal, recipe, changed)
    trained = {entry.name for entries in (recipe.teacher, recipe.student) for entry in entries}
    for number in goal.numbers:
        if number.is_score and point.by_entry[number.model or name] not in trained:
            hint = "a variant is scored only on the test part: name its source, and limit the variant's costs"
            raise InputError(f"goal {str(goal)!r}: {number.model or name} has no validation score", hint)
    return name


def _changed_entries(point: Point) -> dict[str, str]:
    """Return the names of a point's models that the axes change, by their entries."""
    return {entry: model for entry, model in point.by_entry.items() if entry != model}


def _changed(goal: Goal, recipe: Recipe, changed: Mapping[str, str]) -> str:
    students = {student.name: student for student in recipe.student}
    changed_students = {entry: students[model] for entry, model in changed.items() if model in students}
    distilled = [entry for entry, student in changed_students.items() if student.terms]
    names = distilled or [*changed_students] or [*changed]
    if len(names) > 1:
        message = f"goal {str(goal)!r}: the axes change {', '.join(names)}"
        raise InputError(message, f"name one of them: {goal.side} {goal.number} of {names[0]}")
    return names[0]


def require_measured(goal: Goal, measure: Measure, task: Task) -> None:
    """Raise InputError for a number in a goal that no trial will have: another task's score, or one not measured."""
    absent = {"rmse"} if task == "classification" else {"top1"}
    for number in goal.numbers:
        subject, group = f"goal {str(goal)!r}: no trial would have {number}", number.declared.group
        if number.metric in absent:
            raise InputError(f"{subject}, because the data is for {task}", f"use {', '.join({*VALIDATED} - absent)}")
        if number.declared.hardware_dependent and group != "training" and not measure.times:
            raise InputError(f"{subject}, because measure.times is false", "leave measure.times out, or limit macs")
        if group == "energy" and measure.energy == "off":
            raise InputError(f"{subject}, because measure.energy is off", 'set measure.energy = "quick"')
        modes = _MODES.get(number.metric) or _MODES.get(group)
        if modes is not None and not modes & {*measure.mode}:
            needed = "offline" if group == "offline" else "stream"
            raise InputError(f"{subject}, because measure.mode leaves it out", f'add "{needed}" to measure.mode')
        if modes is not None and (mode := number.axes.get("mode")) is not None and mode not in modes:
            hint = f"use mode={max(modes & {*measure.mode})}"
            raise InputError(f"{subject}, because mode {mode} does not give it", hint)
        for axis, value in number.axes.items():
            configured = getattr(measure, axis)
            values = configured if isinstance(configured, tuple) else (configured,)
            values = (1, *values) if axis == "batch" else values
            if not number.declared.hardware_dependent:
                raise InputError(f"{subject}: {number.metric} has no axis {axis!r}", "leave the axis out")
            if value not in values:
                hint = f"change measure.{axis}, or use {axis}={values[0]}"
                raise InputError(f"{subject}, because measure.{axis} is {', '.join(map(str, values))}", hint)


def names_at(point: Point, name: str, seeds: Sequence[int]) -> IdsByName:
    """Return the ids of a point's models, by the entries they come from; None stands for the entry `name`."""
    suffixes = [f"-seed{seed}" for seed in seeds] if len(seeds) > 1 else [""]
    ids: dict[str | None, Sequence[str]] = {
        entry: [f"{model}{suffix}" for suffix in suffixes] for entry, model in point.by_entry.items()
    }
    return {**ids, None: ids[name]}


def independents_change(recipe: Recipe) -> bool:
    """Return whether students that learn from labels alone differ between points: others are compared with them."""
    return any(isinstance(one, Student) and not one.terms and one.axes for one in recipe.student)
