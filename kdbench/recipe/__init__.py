"""Recipes: what to train, how to distil it and what to measure, as inert values.

`tables/` has one file per table of the TOML file, `sweeps/` expands an entry or a recipe to several, `study` has the
recipe, and `loading` reads it. Building a recipe touches no environment, device or file; the stage that needs a model,
data set or method resolves its name. Imports `results` and the base layer only; every stage and workflow may import it.
"""

from kdbench.recipe.study import Recipe, needed_by
from kdbench.recipe.sweeps.sweep import Sweep
from kdbench.recipe.tables.data import Augment, Data, Examples, LabelNoise, Subset, Transform
from kdbench.recipe.tables.measure import MIN_PRECISION, Analysis, InputOptions, Measure
from kdbench.recipe.tables.models import Model, Prune, Quantize, Start, Student, SubStudents, Teacher, Term, Trained
from kdbench.recipe.tables.reported import Reported
from kdbench.recipe.tables.training import Average, Optimizer, Precision, Schedule, Training
from kdbench.recipe.tables.variants import Variant

__all__ = [
    "MIN_PRECISION",
    "Analysis",
    "Augment",
    "Average",
    "Data",
    "Examples",
    "InputOptions",
    "LabelNoise",
    "Measure",
    "Model",
    "Optimizer",
    "Precision",
    "Prune",
    "Quantize",
    "Recipe",
    "Reported",
    "Schedule",
    "Start",
    "Student",
    "SubStudents",
    "Subset",
    "Sweep",
    "Teacher",
    "Term",
    "Trained",
    "Training",
    "Transform",
    "Variant",
    "needed_by",
]
