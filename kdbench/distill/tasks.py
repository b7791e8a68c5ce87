"""What a network learns from its labels: classes or numbers. A task's loss, its score, and how they are written.

A task is one value: the training loop, the objective and the tables use it, and none of them depends on the
set of tasks.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from kdbench.data import dataset
from kdbench.distill.losses.logits import correct, cross_entropy
from kdbench.distill.losses.outputs import mean_squared_error, squared_errors
from kdbench.errors import InputError
from kdbench.recipe import Examples, Training
from kdbench.results.cards import Epoch


@dataclass(frozen=True)
class Task:
    """A kind of labels, with its loss, its score and their text.

    `symbol` is the loss with the labels in a formula. `label_loss` returns that loss for outputs (B, D), labels and a
    label smoothing, a mean over the batch. `score` returns a sum of scores over the batch, `scores` the curve's columns
    from the mean scores in training and in validation, and `summary` an epoch in words.
    """

    name: dataset.Task
    symbol: str
    label_loss: Callable[[Tensor, Tensor, float], Tensor]
    score: Callable[[Tensor, Tensor], Tensor]
    scores: Callable[[float, float], Mapping[str, float]]
    summary: Callable[[Epoch], str]


CLASSIFICATION = Task(
    "classification",
    "CE",
    cross_entropy,
    correct,
    lambda train, validation: {"train_top1": train, "validation_top1": validation},
    lambda row: f"validation {row.validation_top1:.2%}",
)
"""Classes (B,), or distributions over them (B, C): cross-entropy, and the share of correct predictions."""

REGRESSION = Task(
    "regression",
    "MSE",
    lambda outputs, targets, _: mean_squared_error(outputs, targets),
    squared_errors,
    lambda train, validation: {"train_rmse": math.sqrt(train), "validation_rmse": math.sqrt(validation)},
    lambda row: f"validation RMSE {row.validation_rmse:.4g}",
)
"""Targets (B, D): the mean squared error, and its root. Targets are used as they are, in their own unit."""

TASKS: Mapping[dataset.Task, Task] = {task.name: task for task in (CLASSIFICATION, REGRESSION)}


def require_task(task: dataset.Task, name: str, examples: Examples, training: Training) -> None:
    """Raise InputError for keys of the model `name` that its task does not support, such as label noise on numbers."""
    if task == "classification":
        if examples.target_noise.std:
            message = f"{name}: data.target_noise is for numeric targets, but the labels are classes"
            raise InputError(message, "use data.label_noise for wrong classes")
        return
    augment, subset = examples.augment, examples.subset
    unsupported = {
        'training.schedule.monitor = "accuracy"': (training.schedule.monitor == "accuracy", 'use "loss"'),
        "training.label_smoothing": (training.label_smoothing, "leave it out"),
        "training.class_weights": (training.class_weights, "leave it out"),
        "data.label_noise": (examples.label_noise.flips, "use data.target_noise = { std = … } for noise on numbers"),
        "data.augment.mixup and cutmix": (augment.mixes, "set both to 0"),
        "data.subset.first_per_class": (subset.first_per_class, "use data.subset = { random = … }"),
    }
    for key, (used, hint) in unsupported.items():
        if used:
            raise InputError(f"{name}: {key} is for labels that are classes, but these are numbers", hint)
