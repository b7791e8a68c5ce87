"""Output matching: the student's outputs match the teacher's in squared error. The distillation of a regression.

For numbers it is the loss with the labels, with the teacher's predictions instead of the labels: with weights 1 - w and
w the student fits the targets (1 - w) · y + w · ŷ_t. For logits it is logit matching (Ba & Caruana 2014, "Do Deep Nets
Really Need to be Deep?"; Kim et al. 2021, "Comparing Kullback-Leibler Divergence and Mean Squared Error Loss in
Knowledge Distillation"), which has no temperature.
"""

from pydantic import Field
from torch import Tensor

from kdbench.distill.losses.outputs import mean_outputs, mean_squared_error
from kdbench.distill.method import Method, MethodContext, MethodOptions, Step, require_all_classes
from kdbench.distill.methods import METHODS


class MseOptions(MethodOptions):
    """Weight of the term; with a `ce_weight` of one half, labels and teacher have equal weight."""

    mse_weight: float = Field(default=0.5, ge=0, le=1e9)


@METHODS.register("mse")
class Mse(Method):
    """mse_weight · mean((z_s - z_t)²), over the batch and the outputs; of several teachers, z_t is the mean."""

    Options = MseOptions
    options: MseOptions
    default_ce_weight = 0.5
    uses_all_teachers = True

    def __init__(self, options: MseOptions, context: MethodContext) -> None:
        super().__init__(options, context)
        require_all_classes(context, "mse compares logits")
        self.teachers = len(context.teachers)

    def forward(self, step: Step) -> Tensor:
        teacher = mean_outputs(step.all_teacher_logits)
        return self.options.mse_weight * mean_squared_error(step.student_logits, teacher)

    def formula(self) -> str:
        teacher = "t" if self.teachers == 1 else f"the mean of {self.teachers} teachers"
        return f"{self.options.mse_weight:g}·MSE(s, {teacher})"
