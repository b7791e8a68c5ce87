"""A model's loss: the task's weighted loss with the labels plus the weighted terms of distillation methods."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.data.batches import Batch
from kdbench.distill.losses.logits import weighted_cross_entropy
from kdbench.distill.method import Method, MethodContext, Step
from kdbench.distill.methods import METHODS
from kdbench.distill.tasks import CLASSIFICATION, Task
from kdbench.distill.teaching.teachers import Teacher
from kdbench.distill.training.devices import processes_of
from kdbench.errors import InputError, about
from kdbench.models.features.extractor import FeatureExtractor
from kdbench.recipe import Student, Term
from kdbench.registry import is_shipped

_MAX_WEIGHTS = 5  # named one by one in a formula


class ScheduledTerm(nn.Module):
    """A method's term with the epochs in which it is active; an active term that is `alone` excludes all others."""

    def __init__(
        self, method: Method, *, from_epoch: int = 0, until_epoch: int | None = None, alone: bool = False
    ) -> None:
        super().__init__()
        self.method = method
        self.from_epoch = from_epoch
        self.until_epoch = until_epoch
        self.alone = alone
        self._is_user_code = not is_shipped(type(method))

    def is_active(self, epoch: int) -> bool:
        """Return whether the term is active in `epoch`, from 0."""
        return epoch >= self.from_epoch and (self.until_epoch is None or epoch < self.until_epoch)

    def forward(self, step: Step) -> Tensor:
        """Return the weighted loss of one step; raises InputError for user code that changes what other terms see."""
        step = self.method.canonical(step)
        if not self._is_user_code:
            loss: Tensor = self.method(step)
            return loss
        before = _versions(step)
        loss = self.method(step)
        if changed := [name for name, version in _versions(step).items() if version != before[name]]:
            message = (
                f"the method {type(self.method).__name__} changes {changed[0]} in place, which other code uses too"
            )
            raise InputError(message, "copy it first, as in x = x.clone(), or leave out operations in place")
        return loss

    def formula(self) -> str:
        """Return the term in words and numbers, with its epochs."""
        first, last = self.from_epoch + 1, self.until_epoch
        if last is None:
            epochs = f"from epoch {first}" if first > 1 else ""
        else:
            epochs = f"epoch {first}" if first == last else f"epochs {first}–{last}"
        notes = ", ".join(filter(None, (epochs, "alone" if self.alone else "")))
        return self.method.formula() + (f" ({notes})" if notes else "")


class Objective(nn.Module):
    """ce_weight · CE + Σ terms; CE alone in epochs without an active term. Teachers run only for terms that need them.

    For other tasks, the loss of the `task` replaces the cross-entropy CE, such as MSE for a regression.
    `label_smoothing` and `class_weights` apply to the cross-entropy only. With `mixed_labels`, the formula says that
    labels are distributions.
    """

    def __init__(
        self,
        *,
        ce_weight: float = 1.0,
        terms: Sequence[ScheduledTerm] = (),
        teachers: Sequence[Teacher] = (),
        label_smoothing: float = 0.0,
        mixed_labels: bool = False,
        class_weights: Sequence[float] | None = None,
        task: Task = CLASSIFICATION,
    ) -> None:
        super().__init__()
        uses_teachers = any(term.method.needs_teacher for term in terms)
        assert bool(teachers) == uses_teachers, "pass teachers exactly when a term uses them"
        self.ce_weight = ce_weight
        self.terms: Sequence[ScheduledTerm] = nn.ModuleList(terms)  # type: ignore[assignment]
        self.teachers = tuple(teachers)
        self.label_smoothing = label_smoothing
        self.mixed_labels = mixed_labels
        self.class_weights: Tensor | None
        weights = None if class_weights is None else torch.tensor(tuple(class_weights), dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)  # moves to the device, and is not saved
        self.task = task
        self._extractors: dict[nn.Module, FeatureExtractor] = {}

    def run(self, network: nn.Module, inputs: Tensor, layers: Sequence[str] = ()) -> tuple[Tensor, dict[str, Any]]:
        """Return the logits of `network`, the same one at every step, and the outputs of its `layers`."""
        if network not in self._extractors:
            self._extractors[network] = FeatureExtractor(network)
        return self._extractors[network].run(inputs, layers)

    def forward(self, network: nn.Module, batch: Batch, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch in an epoch, a scalar, and the network's logits (B, C)."""
        terms = self.active_terms(epoch)
        logits, features = self.run(network, batch.inputs, _distinct(term.method.student_layers for term in terms))
        losses = []
        weight = self.ce_weight if terms or not len(self.terms) else 1.0
        if weight and not any(term.alone for term in terms):
            if self.class_weights is None:
                ce = self.task.label_loss(logits, batch.labels, self.label_smoothing)
            else:
                weights, mean = self.class_weights, batch.mean_weight
                ce = weighted_cross_entropy(logits, batch.labels, self.label_smoothing, weights, mean)
            losses.append(ce if weight == 1 else weight * ce)
        if terms:
            methods = [term.method for term in terms if term.method.needs_teacher]
            needs_logits = any(method.needs_logits for method in methods)
            # Features come from the first teacher only: no method compares those of several.
            layers = _distinct(term.method.teacher_layers for term in terms)
            teacher_outputs = tuple(
                teacher.predict(batch, () if number else layers, logits=needs_logits)
                for number, teacher in enumerate(self.teachers if methods else ())
            )
            step = Step(
                batch.inputs, batch.labels, batch.sample, batch.position, epoch, logits, features, teacher_outputs,
                self.class_weights, batch.mean_weight, self.label_smoothing,
            )  # fmt: skip
            losses += [term(step) for term in terms]
        return functools.reduce(torch.add, losses), logits

    def validation_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the task's loss of a batch without terms of methods; with class weights, their weighted mean."""
        if self.class_weights is None:
            return self.task.label_loss(logits, labels, 0.0)
        return weighted_cross_entropy(logits, labels, 0.0, self.class_weights, None)

    def active_terms(self, epoch: int) -> list[ScheduledTerm]:
        """Return the terms that apply in `epoch`, from 0: the active ones, or those of them with `alone`, if any."""
        active = [term for term in self.terms if term.is_active(epoch)]
        return [term for term in active if term.alone] or active

    @property
    def first_full_epoch(self) -> int:
        """The first epoch, from 0, after the epochs of terms with `alone`: from then on the whole network learns."""
        return max((term.until_epoch or 0 for term in self.terms if term.alone), default=0)

    @property
    def last_beginning(self) -> int:
        """The first epoch, from 0, in which every term has begun: before it, the training has not used its methods."""
        return max((term.from_epoch for term in self.terms), default=0)

    def formula(self, epochs: int) -> str:
        """Return the loss over `epochs` epochs in words and numbers, for the record."""
        parts = [term.formula() for term in self.terms]
        smoothing = f"label smoothing {self.label_smoothing:g}" if self.label_smoothing else ""
        weights = "" if self.class_weights is None else _describe_class_weights(self.class_weights)
        notes = ", ".join(filter(None, ("mixed labels" if self.mixed_labels else "", smoothing, weights)))
        symbol = self.task.symbol + (f" ({notes})" if notes else "")
        if notes and not self.ce_weight and any(term.method.uses_label_loss for term in self.terms):
            parts[-1] += f"; {self.task.symbol} with {notes}"
        if self.ce_weight:
            parts.insert(0, symbol if self.ce_weight == 1 else f"{self.ce_weight:g}·{symbol}")
        without_terms = len(self.terms) and not all(self.active_terms(epoch) for epoch in range(epochs))
        return " + ".join(parts) + (f"; {symbol} in other epochs" if without_terms and self.ce_weight != 1 else "")


def _versions(step: Step) -> dict[str, int]:
    """Return how often each tensor of a step was changed in place, by the name that methods use for it."""
    named = {"inputs": step.inputs, "labels": step.labels, "index": step.index, "position": step.position}
    named["student_logits"] = step.student_logits
    named |= {f"the student's {layer}": feature for layer, feature in step.student_features.items()}
    for output in step.teacher_outputs:
        named |= {} if output.logits is None else {"teacher_logits": output.logits}
        named |= {f"the teacher's {layer}": feature for layer, feature in output.features.items()}
    tensors = {name: tensor for name, tensor in named.items() if isinstance(tensor, Tensor)}
    return {name: 0 if tensor.is_inference() else tensor._version for name, tensor in tensors.items()}  # noqa: SLF001


def _describe_class_weights(class_weights: Tensor) -> str:
    """Return the weights of few classes, or the smallest and the largest of many."""
    values = class_weights.tolist()
    if len(values) <= _MAX_WEIGHTS:
        return f"class weights {', '.join(f'{value:.4g}' for value in values)}"
    return f"class weights {min(values):.4g} to {max(values):.4g}"


def student_terms(student: Student, context: MethodContext) -> tuple[ScheduledTerm, ...]:
    """Build the terms of a recipe's student.

    Raises InputError for an unknown method or option, an empty loss, options that exclude each other, or a method that
    needs classes where the labels are numbers.
    """
    terms = tuple(_term(term, student, context) for term in student.terms)
    if not terms and student.ce_weight == 0:
        raise InputError(f"student {student.name!r} has no terms and ce_weight 0: it has nothing to learn from")
    if len(student.teacher) > 1 and not any(term.method.uses_all_teachers for term in terms):
        message = f"student {student.name!r} has {len(student.teacher)} teachers, and no term uses more than one"
        raise InputError(message, 'use the method "multi_teacher"')
    for term, options in zip(terms, student.terms, strict=True):
        if term.method.combines_teachers and not student.teacher and len(context.teachers) < 2:
            message = f"{options.method} combines the teachers that a student names, and it names none"
            hint = f'list them: student.{student.name}.teacher = ["NAME", "NAME"]; for one teacher use kd'
            raise InputError(f"student {student.name!r}: {message}", hint)
        if student.data.augment.mixes and not term.method.supports_mixed_images:
            message = f"{options.method} compares single samples, but mixup and cutmix mix two"
            hint = f"set student.{student.name}.data.augment.mixup and cutmix to 0"
            raise InputError(f"student {student.name!r}: {message}", hint)
        if processes_of(student.training) > 1 and not term.method.supports_multiple_processes:
            obstacle = "keeps a memory of all samples, but with several processes each sees only a part of them"
            hint = f"set student.{student.name}.training.devices and num_nodes to 1"
            raise InputError(f"student {student.name!r}: {options.method} {obstacle}", hint)
        batch, least = student.training.batch // processes_of(student.training), term.method.least_batch
        if batch < least:
            message = (
                f"{options.method} compares the samples of a batch, at least {least}, but training.batch is {batch}"
            )
            hint = f"set student.{student.name}.training.batch to at least {least} for each device"
            raise InputError(f"student {student.name!r}: {message}", hint)
    return terms


def student_objective(
    student: Student,
    terms: Sequence[ScheduledTerm],
    teachers: Sequence[Teacher],
    task: Task = CLASSIFICATION,
    class_weights: Sequence[float] | None = None,
) -> Objective:
    """Return the loss of a recipe's student with these terms and teachers."""
    default = terms[0].method.default_ce_weight if terms else 1.0
    weight = default if student.ce_weight is None else student.ce_weight
    return Objective(
        ce_weight=weight,
        terms=terms,
        teachers=teachers,
        label_smoothing=student.training.label_smoothing,
        mixed_labels=student.data.augment.mixes,
        class_weights=class_weights,
        task=task,
    )


def _term(term: Term, student: Student, context: MethodContext) -> ScheduledTerm:
    begin = student.training.epoch_at(term.from_epoch)
    end = None if term.until_epoch is None else student.training.epoch_at(term.until_epoch)
    if end is not None and end <= begin:
        message = f"student {student.name!r}: {term.method} begins at epoch {begin} and ends before epoch {end}"
        raise InputError(f"{message}, so it is never active", "give an until_epoch above from_epoch")
    if begin >= student.training.last_epoch:
        active = (
            f"{term.method} is active from epoch {begin} on, but the training has {student.training.last_epoch} epochs"
        )
        hint = "epochs are counted from 0: give a smaller from_epoch, a share such as 0.25, or train for longer"
        raise InputError(f"student {student.name!r}: {active}", hint)
    if end is not None and end > student.training.epochs:
        message = f"{term.method} is active until epoch {end}, but the training has {student.training.epochs} epochs"
        hint = "give a smaller until_epoch, a share such as 0.5, or train for longer; or leave until_epoch out"
        raise InputError(f"student {student.name!r}: {message}", hint)
    with about(f"student {student.name!r}"):  # a recipe may have many
        method = _method(term, context)
    return ScheduledTerm(method, from_epoch=begin, until_epoch=end, alone=term.alone)


def _method(term: Term, context: MethodContext) -> Method:
    method_type = METHODS.get(term.method)
    if method_type.needs_classes and context.task == "regression":
        fitting = ", ".join(name for name, other in METHODS if not other.needs_classes)
        message = f"{term.method} compares classes, and the labels here are numbers"
        raise InputError(message, f"methods that need no classes: {fitting}")
    return method_type.from_recipe(term.method, term.options, context)


def _distinct(layers_of_terms: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(layer for layers in layers_of_terms for layer in layers))
