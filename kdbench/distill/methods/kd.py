"""Logit distillation (Hinton, Vinyals, Dean 2015): the student matches the teacher's softened probabilities."""

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from kdbench.distill.losses import softened_kl
from kdbench.distill.method import Method, MethodOptions, Setting, Step
from kdbench.distill.methods import METHODS


class KdOptions(MethodOptions):
    """Weight of the term and temperature; .9 at 4 are the usual values of the CIFAR tables."""

    kd_weight: float = Field(default=0.9, ge=0)
    temperature: float = Field(default=4.0, gt=0)


@METHODS.register("kd")
class Kd(Method):
    """kd_weight · T² · KL(p_t^T ‖ p_s^T)."""

    Options = KdOptions
    usual_ce_weight: ClassVar[float] = 0.1

    def __init__(self, options: KdOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        self.options = options

    def forward(self, step: Step) -> Tensor:
        """Return the weighted term of one step."""
        loss = softened_kl(step.student_logits, step.teacher_logits, self.options.temperature)
        return self.options.kd_weight * loss

    def formula(self) -> str:
        """Return the term in words and numbers."""
        return f"{self.options.kd_weight:g}·T²·KL(t‖s), T = {self.options.temperature:g}"
