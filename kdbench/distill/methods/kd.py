"""Logit distillation (Hinton, Vinyals, Dean 2015): the student matches the teacher's softened probabilities.

With `standardize` the logits of both networks are standardized first (Sun et al. 2024, "Logit Standardization in
Knowledge Distillation"), so that the student need not match their location and scale.
"""

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from kdbench.distill.losses import Std, softened_kl, standardize
from kdbench.distill.method import Method, MethodContext, MethodOptions, Step
from kdbench.distill.methods import METHODS


class KdOptions(MethodOptions):
    """Weight of the term and temperature: .9 at 4 are the usual values of the CIFAR tables.

    With `standardize`, Sun et al. take a kd_weight of 9 at temperature 2, beside a cross-entropy of .1. `std` is that
    of the authors' code ("unbiased") or the row's own ("population").
    """

    kd_weight: float = Field(default=0.9, ge=0)
    temperature: float = Field(default=4.0, gt=0)
    standardize: bool = False
    std: Std = "unbiased"


@METHODS.register("kd")
class Kd(Method):
    """kd_weight · T² · KL(p_t^T ‖ p_s^T)."""

    Options = KdOptions
    usual_ce_weight: ClassVar[float] = 0.1

    def __init__(self, options: KdOptions, setting: MethodContext) -> None:
        super().__init__(options, setting)
        self.options = options

    def forward(self, step: Step) -> Tensor:
        """Return the weighted term of one step."""
        student, teacher = step.student_logits, step.teacher_logits
        if self.options.standardize:
            student, teacher = (standardize(logits, self.options.std) for logits in (student, teacher))
        return self.options.kd_weight * softened_kl(student, teacher, self.options.temperature)

    def formula(self) -> str:
        """Return the term in words and numbers."""
        options = self.options
        of_what = f" of standardized logits ({options.std} std)" if options.standardize else ""
        return f"{options.kd_weight:g}·T²·KL(t‖s){of_what}, T = {options.temperature:g}"
