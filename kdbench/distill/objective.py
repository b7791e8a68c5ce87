"""A model's loss: the weighted cross-entropy with the labels and the weighted terms of its distillation methods."""

import functools
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from kdbench.data.batches import Batch
from kdbench.distill.devices import processes_of
from kdbench.distill.losses import cross_entropy
from kdbench.distill.method import Method, MethodContext, Step
from kdbench.distill.methods import METHODS
from kdbench.distill.teacher import Teacher
from kdbench.errors import InputError
from kdbench.models.taps import Taps
from kdbench.recipe import Student, Term


class ScheduledTerm(nn.Module):
    """A method's term from one epoch until before another; while one that is `alone` holds, nothing else counts."""

    def __init__(
        self, method: Method, *, from_epoch: int = 0, until_epoch: int | None = None, alone: bool = False
    ) -> None:
        super().__init__()
        self.method = method
        self.from_epoch = from_epoch
        self.until_epoch = until_epoch
        self.alone = alone

    def holds(self, epoch: int) -> bool:
        """Return whether the term counts in `epoch`, from 0."""
        return epoch >= self.from_epoch and (self.until_epoch is None or epoch < self.until_epoch)

    def formula(self) -> str:
        """Return the term in words and numbers, and when it holds."""
        first, last = self.from_epoch + 1, self.until_epoch
        how = []
        if last is not None:
            how.append(f"epoch {first}" if first == last else f"epochs {first}–{last}")
        elif first > 1:
            how.append(f"from epoch {first}")
        if self.alone:
            how.append("alone")
        return self.method.formula() + (f" ({', '.join(how)})" if how else "")


class Objective(nn.Module):
    """ce_weight · CE + Σ terms; CE alone in epochs in which no term holds. Teachers are asked while a term listens.

    `label_smoothing` applies to the cross-entropy alone.
    """

    def __init__(
        self,
        *,
        ce_weight: float = 1.0,
        terms: Sequence[ScheduledTerm] = (),
        teachers: Sequence[Teacher] = (),
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        assert bool(teachers) == any(term.method.taught for term in terms), "who is taught needs a teacher, and only he"
        self.ce_weight = ce_weight
        self.terms = nn.ModuleList(terms)
        self.teachers = tuple(teachers)
        self.label_smoothing = label_smoothing

    def forward(self, network: nn.Module, batch: Batch, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch in an epoch, a scalar, and the network's logits (B, C)."""
        terms = self.holding(epoch)
        with Taps(network, _layers(term.method.student_layers for term in terms)) as taps:
            logits: Tensor = network(batch.images)
        losses = []
        if weight := self._label_weight(terms):
            ce = cross_entropy(logits, batch.labels, self.label_smoothing)
            losses.append(ce if weight == 1 else weight * ce)
        if terms:
            taught = any(term.method.taught for term in terms)
            wanted = any(term.method.taught and term.method.wants_logits for term in terms)
            asked = self.teachers if taught else ()
            # Features are the first teacher's: no method compares those of several.
            layers = _layers(term.method.teacher_layers for term in terms)
            lessons = tuple(
                teacher.lesson(batch, () if number else layers, logits=wanted) for number, teacher in enumerate(asked)
            )
            step = Step(batch.images, batch.labels, batch.index, epoch, logits, taps.features, lessons)
            losses += [term.method(step) for term in terms]
        return functools.reduce(torch.add, losses), logits

    def holding(self, epoch: int) -> list[ScheduledTerm]:
        """Return the terms that count in `epoch`, from 0: those that are alone, if any, else all that hold."""
        holding = [term for term in self.terms if isinstance(term, ScheduledTerm) and term.holds(epoch)]
        return [term for term in holding if term.alone] or holding

    @property
    def whole_from(self) -> int:
        """The first epoch, from 0, after all those in which a term is alone: from there on the whole network learns."""
        ends = [term.until_epoch or 0 for term in self.terms if isinstance(term, ScheduledTerm) and term.alone]
        return max(ends, default=0)

    def formula(self, epochs: int) -> str:
        """Return the loss of so many epochs in words and numbers, for the record."""
        parts = [term.formula() for term in self.terms if isinstance(term, ScheduledTerm)]
        if self.ce_weight:
            parts.insert(0, "CE" if self.ce_weight == 1 else f"{self.ce_weight:g}·CE")
        without = [epoch for epoch in range(epochs) if len(self.terms) and not self.holding(epoch)]
        return " + ".join(parts) + ("; CE in other epochs" if without and self.ce_weight != 1 else "")

    def _label_weight(self, holding: Sequence[ScheduledTerm]) -> float:
        """Return the cross-entropy's weight: none beside a term that is alone, and 1 where it is all there is."""
        if any(term.alone for term in holding):
            return 0.0
        return self.ce_weight if holding or not len(self.terms) else 1.0


def student_terms(student: Student, setting: MethodContext) -> tuple[ScheduledTerm, ...]:
    """Build the terms that a recipe's student asks for.

    Raises InputError for an unknown method or option, a loss that is empty, or what does not go together.
    """
    terms = tuple(_term(term, student, setting) for term in student.terms)
    if not terms and student.ce_weight == 0:
        raise InputError(f"student {student.name!r} has no terms and ce_weight 0: there is nothing to learn from")
    if len(student.teacher) > 1 and not any(term.method.uses_all_teachers for term in terms):
        raise InputError(
            f"student {student.name!r} has {len(student.teacher)} teachers, and no term listens to more than one",
            'use the method "multi_teacher"',
        )
    for term, asked in zip(terms, student.terms, strict=True):
        if student.data.augment.mixes and not term.method.supports_mixed_images:
            raise InputError(
                f"student {student.name!r}: {asked.method} compares single samples, and mixup and cutmix mix two",
                f"set student.{student.name}.data.augment.mixup and cutmix to 0",
            )
        if processes_of(student.training) > 1 and not term.method.admits_processes:
            raise InputError(
                f"student {student.name!r}: {asked.method} remembers all samples, and each of several processes would "
                "remember its own share",
                f"set student.{student.name}.training.devices and num_nodes to 1",
            )
    return terms


def student_objective(student: Student, terms: Sequence[ScheduledTerm], teachers: Sequence[Teacher]) -> Objective:
    """Return the loss of a recipe's student, its terms built and its teachers chosen."""
    return Objective(
        ce_weight=_ce_weight(student, terms),
        terms=terms,
        teachers=teachers,
        label_smoothing=student.training.label_smoothing,
    )


def _term(term: Term, student: Student, setting: MethodContext) -> ScheduledTerm:
    begin = student.training.epoch_at(term.from_epoch)
    end = None if term.until_epoch is None else student.training.epoch_at(term.until_epoch)
    if end is not None and end <= begin:
        raise InputError(
            f"student {student.name!r}: {term.method} holds from epoch {begin} until before {end}: never",
            "give an until_epoch above from_epoch",
        )
    if begin >= student.training.last_epoch:
        raise InputError(
            f"student {student.name!r}: {term.method} holds from epoch {begin} on, and there are "
            f"{student.training.last_epoch}",
            "epochs are counted from 0: give a smaller from_epoch, a share such as 0.25, or train for longer",
        )
    method = METHODS.get(term.method).from_recipe(term.method, term.options, setting)
    return ScheduledTerm(method, from_epoch=begin, until_epoch=end, alone=term.alone)


def _ce_weight(student: Student, terms: Sequence[ScheduledTerm]) -> float:
    if student.ce_weight is not None:
        return student.ce_weight
    return terms[0].method.usual_ce_weight if terms else 1.0


def _layers(of_terms: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(layer for layers in of_terms for layer in layers))
