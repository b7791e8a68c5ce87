"""Recipes: what to train, how to distil it and what to measure, as inert values.

One file per table of the TOML file, plus sweeps (of an entry in `expanding`, of the whole recipe in `points`) and
reading (`loading`). Building a recipe touches no environment, device or file; the stage that needs a model, data set or
method resolves its name. Imports `results` and the base layer only; every stage and workflow may import it.
"""

from kdbench.recipe.data import Augment, Data, Examples, LabelNoise, Subset, Transform
from kdbench.recipe.measure import LEAST_PRECISION, Analysis, InputOptions, Measure
from kdbench.recipe.models import Model, Prune, Quantize, Start, Student, SubStudents, Teacher, Term, Trained
from kdbench.recipe.reported import Reported
from kdbench.recipe.study import Recipe, needed_by
from kdbench.recipe.sweep import Sweep
from kdbench.recipe.training import Average, Optimizer, Precision, Schedule, Training
from kdbench.recipe.variants import Variant

__all__ = [
    "LEAST_PRECISION",
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
