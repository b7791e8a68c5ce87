"""Recipes: what to train, how to distil it and what to measure, as inert values.

Building one touches no environment, device or file; names of models, data sets and methods are resolved by the
stage that needs them. How a recipe is read, overridden and complained about is told in `kdbench.recipe.loading`.
"""

from kdbench.recipe.analysis import Analysis
from kdbench.recipe.data import Augment, Data, Examples, LabelNoise, Subset
from kdbench.recipe.measure import LEAST_PRECISION, Measure
from kdbench.recipe.models import Model, Quantize, Start, Student, SubStudents, Teacher, Term, Trained
from kdbench.recipe.study import Recipe, needed_by
from kdbench.recipe.training import Optimizer, Precision, Schedule, Training

__all__ = [
    "LEAST_PRECISION",
    "Analysis",
    "Augment",
    "Data",
    "Examples",
    "LabelNoise",
    "Measure",
    "Model",
    "Optimizer",
    "Precision",
    "Quantize",
    "Recipe",
    "Schedule",
    "Start",
    "Student",
    "SubStudents",
    "Subset",
    "Teacher",
    "Term",
    "Trained",
    "Training",
    "needed_by",
]
