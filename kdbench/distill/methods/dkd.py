"""Decoupled distillation (Zhao et al. 2022, "Decoupled Knowledge Distillation").

The divergences of the target class and of the other classes have separate weights.
"""

from pydantic import Field
from torch import Tensor

from kdbench.distill.losses.logits import dkd, warm_up
from kdbench.distill.method import Method, MethodOptions, Step
from kdbench.distill.methods import METHODS


class DkdOptions(MethodOptions):
    """The paper's values; its alpha is `tckd_weight`, its beta `nckd_weight`; `warmup` is in epochs."""

    tckd_weight: float = Field(default=1.0, ge=0, le=1e9)
    nckd_weight: float = Field(default=8.0, ge=0, le=1e9)
    temperature: float = Field(default=4.0, gt=0, le=1e6)
    warmup: int = Field(default=20, ge=0, le=1_000_000)


@METHODS.register("dkd")
class Dkd(Method):
    """min(epoch / warmup, 1) · T² · (tckd_weight · TCKD + nckd_weight · NCKD)."""

    Options = DkdOptions
    options: DkdOptions
    needs_classes = True
    supports_mixed_images = False  # a mixed image has two target classes

    def forward(self, step: Step) -> Tensor:
        options = self.options
        weights = {"alpha": options.tckd_weight, "beta": options.nckd_weight}
        loss = dkd(step.student_logits, step.teacher_logits, step.labels, options.temperature, **weights)
        return warm_up(step.epoch + 1, options.warmup) * loss  # the authors count epochs from 1

    def formula(self) -> str:
        options = self.options
        warmup = f"min(epoch/{options.warmup}, 1)·" if options.warmup else ""
        return f"{warmup}T²·({options.tckd_weight:g}·TCKD + {options.nckd_weight:g}·NCKD), T = {options.temperature:g}"
