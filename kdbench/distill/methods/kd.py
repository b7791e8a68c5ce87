"""Logit distillation and its relatives, which are kd with other defaults: born-again networks and function matching.

kd (Hinton, Vinyals, Dean 2015): the student matches the teacher's softened probabilities. With `standardize` the logits
of both networks are standardized first (Sun et al. 2024, "Logit Standardization in Knowledge Distillation"), so that
the student need not match their location and scale.
"""

from pydantic import Field
from torch import Tensor

from kdbench.distill.losses.logits import Std, softened_kl, standardize
from kdbench.distill.method import Method, MethodContext, MethodOptions, Step, require_all_classes
from kdbench.distill.methods import METHODS


class KdOptions(MethodOptions):
    """Weight of the term and temperature: .9 at 4 are the usual values of the CIFAR tables.

    With `standardize`, Sun et al. use a kd_weight of 9 at temperature 2, with a ce_weight of .1. `std` is "unbiased" as
    in the authors' code, or "population".
    """

    kd_weight: float = Field(default=0.9, ge=0, le=1e9)
    temperature: float = Field(default=4.0, gt=0, le=1e6)
    standardize: bool = False
    std: Std = "unbiased"


@METHODS.register("kd")
class Kd(Method):
    """kd_weight · T² · KL(p_t^T ‖ p_s^T)."""

    Options = KdOptions
    options: KdOptions
    default_ce_weight = 0.1
    needs_classes = True

    def __init__(self, options: KdOptions, context: MethodContext) -> None:
        super().__init__(options, context)
        if options.standardize:
            require_all_classes(context, "standardize takes the mean and spread of logits")

    def forward(self, step: Step) -> Tensor:
        student, teacher = step.student_logits, step.teacher_logits
        if self.options.standardize:
            student, teacher = (standardize(logits, self.options.std) for logits in (student, teacher))
        return self.options.kd_weight * softened_kl(student, teacher, self.options.temperature)

    def formula(self) -> str:
        options = self.options
        standardized = f" of standardized logits ({options.std} std)" if options.standardize else ""
        return f"{options.kd_weight:g}·T²·KL(t‖s){standardized}, T = {options.temperature:g}"


class BornAgainOptions(KdOptions):
    """The options of kd; weight and temperature are 1, as in the authors' BAN+L (BAN has `ce_weight` 0)."""

    kd_weight: float = Field(default=1.0, ge=0, le=1e9)
    temperature: float = Field(default=1.0, gt=0, le=1e6)


@METHODS.register("born_again")
class BornAgain(Kd):
    """kd_weight · KL(p_t ‖ p_s) plus the full cross-entropy, from a teacher of the student's own architecture.

    Furlanello et al. 2018, "Born Again Neural Networks". The recipe makes the generations: `generations = 3` makes
    three students, each with the previous one as its teacher.
    """

    Options = BornAgainOptions
    default_ce_weight = 1.0


class FunctionMatchingOptions(KdOptions):
    """The options of kd; the authors use temperatures of 1, 2, 5 or 10, by data set and length."""

    kd_weight: float = Field(default=1.0, ge=0, le=1e9)
    temperature: float = Field(default=2.0, gt=0, le=1e6)


@METHODS.register("function_matching")
class FunctionMatching(Kd):
    """kd_weight · T² · KL(p_t^T ‖ p_s^T), without labels; intended for mixed images and long trainings.

    Beyer et al. 2021, "Knowledge distillation: A good teacher is patient and consistent": both networks see the same
    crop, mixed with another image. Set `data.augment.mixup = 1.0`.
    """

    Options = FunctionMatchingOptions
    default_ce_weight = 0.0
