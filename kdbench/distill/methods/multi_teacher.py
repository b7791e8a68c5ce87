"""Several teachers at once: the student matches their ensemble, or each of them with equal weight.

`student.teacher` lists them. An ensemble's logits are the log of the mean probability, as in Stanton et al. 2021, "Does
Knowledge Distillation Really Work?".
"""

from typing import Literal

from pydantic import Field
from torch import Tensor

from kdbench.distill.losses.logits import ensemble_logits, mean_kl
from kdbench.distill.method import Method, MethodContext, MethodOptions, Step
from kdbench.distill.methods import METHODS

Combine = Literal["probabilities", "divergences"]


class MultiTeacherOptions(MethodOptions):
    """`combine` says what is averaged over the teachers: their probabilities, or the divergences from each."""

    kd_weight: float = Field(default=0.9, ge=0, le=1e9)
    temperature: float = Field(default=4.0, gt=0, le=1e6)
    combine: Combine = "probabilities"


_FORMULAS: dict[Combine, str] = {
    "probabilities": "KL(t‖s), t the mean probability of {count} teachers",
    "divergences": "mean of KL(t‖s) over {count} teachers",
}


@METHODS.register("multi_teacher")
class MultiTeacher(Method):
    """kd_weight · T² · KL(p_t^T ‖ p_s^T) with t the ensemble of all teachers, or the mean of KLs over them."""

    Options = MultiTeacherOptions
    options: MultiTeacherOptions
    default_ce_weight = 0.1
    uses_all_teachers = True
    combines_teachers = True
    needs_classes = True

    def __init__(self, options: MultiTeacherOptions, context: MethodContext) -> None:
        super().__init__(options, context)
        self.teachers = len(context.teachers)

    def forward(self, step: Step) -> Tensor:
        options, teachers = self.options, step.all_teacher_logits
        # The ensemble is a single teacher.
        teachers = (ensemble_logits(teachers),) if options.combine == "probabilities" else teachers
        return options.kd_weight * mean_kl(step.student_logits, teachers, options.temperature)

    def formula(self) -> str:
        formula = _FORMULAS[self.options.combine].format(count=self.teachers)
        return f"{self.options.kd_weight:g}·T²·{formula}, T = {self.options.temperature:g}"
