"""A model's loss: the weighted cross-entropy with the labels and the weighted terms of its distillation methods."""

import torch
from torch import Tensor, nn

from kdbench.distill.losses import cross_entropy
from kdbench.distill.method import Method, Pair, Step
from kdbench.distill.methods import METHODS
from kdbench.distill.teacher import Lesson, LiveTeacher
from kdbench.errors import InputError
from kdbench.models.taps import Taps
from kdbench.recipe import Student


class Objective(nn.Module):
    """ce_weight · CE + Σ terms. Without terms no teacher is asked.

    `label_smoothing` applies to the cross-entropy alone.
    """

    def __init__(
        self,
        *,
        ce_weight: float = 1.0,
        terms: tuple[Method, ...] = (),
        teacher: LiveTeacher | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        assert bool(terms) == (teacher is not None), "terms need a teacher, and a teacher needs terms"
        self.ce_weight = ce_weight
        self.terms = nn.ModuleList(terms)
        self.teacher = teacher
        self.label_smoothing = label_smoothing
        self.student_layers = tuple(dict.fromkeys(layer for term in terms for layer in term.student_layers))
        self.teacher_layers = tuple(dict.fromkeys(layer for term in terms for layer in term.teacher_layers))

    def forward(self, network: nn.Module, images: Tensor, labels: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the loss, a scalar, and the network's logits (B, C)."""
        with Taps(network, self.student_layers) as taps:
            logits: Tensor = network(images)
        loss = torch.zeros((), device=logits.device)
        if self.ce_weight:
            loss = loss + self.ce_weight * cross_entropy(logits, labels, self.label_smoothing)
        if self.teacher is not None:
            lesson: Lesson = self.teacher.lesson(images, self.teacher_layers)
            step = Step(labels, logits, lesson.logits, epoch, taps.features, lesson.features)
            for term in self.terms:
                loss = loss + term(step)
        return loss, logits

    def formula(self) -> str:
        """Return the loss in words and numbers, for the record."""
        parts = [term.formula() for term in self.terms if isinstance(term, Method)]
        if self.ce_weight:
            parts.insert(0, "CE" if self.ce_weight == 1 else f"{self.ce_weight:g}·CE")
        return " + ".join(parts)


def student_objective(student: Student, network: nn.Module, teacher: nn.Module | None, example: Tensor) -> Objective:
    """Build the loss that a recipe's student asks for.

    `example` is a batch (2, C, H, W) from which the methods learn the shapes of features. Raises InputError for
    an unknown method or option, or a loss that is empty.
    """
    smoothing = student.training.label_smoothing
    if not student.terms:
        if student.ce_weight == 0:
            raise InputError(f"student {student.name!r} has no terms and ce_weight 0: there is nothing to learn from")
        return Objective(ce_weight=1.0 if student.ce_weight is None else student.ce_weight, label_smoothing=smoothing)
    assert teacher is not None, "a student with terms is trained after its teacher"
    pair = Pair(network, teacher, example)
    terms = tuple(METHODS.get(term.method).from_recipe(term.method, term.options, pair) for term in student.terms)
    usual = terms[0].usual_ce_weight
    return Objective(
        ce_weight=usual if student.ce_weight is None else student.ce_weight,
        terms=terms,
        teacher=LiveTeacher(teacher),
        label_smoothing=smoothing,
    )
