"""Hints (FitNets, Romero et al. 2015): a layer of the student, through a regressor, matches one of the teacher's.

The hint is a term beside the cross-entropy from the first step on. With `until_epoch = n, alone = true` it is the first
of two stages, as in the paper: for n epochs it trains the student up to that layer, then the rest of the loss goes on.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from pydantic import Field
from torch import Tensor, nn

from kdbench.distill.losses.features import feature_mse
from kdbench.distill.method import LayerMethod, LayerOptions, MethodContext, Step
from kdbench.distill.methods import METHODS
from kdbench.errors import InputError
from kdbench.models.taps import middle_stage


class HintOptions(LayerOptions):
    """Weight of the term; the default layer is the network's middle stage."""

    hint_weight: float = Field(default=100.0, ge=0)


class Regressor(nn.Module):
    """Maps the student's feature to the teacher's shape: 1×1 convolution (or linear), batch norm, ReLU.

    Where the maps differ in height or width, the student's is pooled or interpolated to the teacher's. The ReLU
    is left out when the teacher's feature takes negative values, which it could never reach.
    """

    def __init__(self, student: Tensor, teacher: Tensor) -> None:
        super().__init__()
        channels_in, channels_out = student.shape[1], teacher.shape[1]
        self.size = list(teacher.shape[2:])
        if self.size:
            self.map: nn.Module = nn.Conv2d(channels_in, channels_out, kernel_size=1, bias=False)
        else:
            self.map = nn.Linear(channels_in, channels_out, bias=False)
        self.norm = (nn.BatchNorm2d if self.size else nn.BatchNorm1d)(channels_out)
        self.rectify = bool((teacher >= 0).all())

    def forward(self, feature: Tensor) -> Tensor:
        """Map features (B, C_s, H_s, W_s) or (B, C_s) to the teacher's shape."""
        if self.size and list(feature.shape[2:]) != self.size:
            if all(have >= want for have, want in zip(feature.shape[2:], self.size, strict=True)):
                feature = F.adaptive_avg_pool2d(feature, (self.size[0], self.size[1]))
            else:
                feature = F.interpolate(feature, size=self.size, mode="bilinear", align_corners=False)
        mapped: Tensor = self.norm(self.map(feature))
        return torch.relu(mapped) if self.rectify else mapped


@METHODS.register("hint")
class Hint(LayerMethod):
    """hint_weight · MSE(regressor(f_s), f_t)."""

    Options = HintOptions
    options: HintOptions
    needs_logits = False

    def __init__(self, options: HintOptions, context: MethodContext) -> None:
        super().__init__(options, context, middle_stage)
        student, teacher = self.examples(context)
        if student.dim() != teacher.dim():
            shapes = [tuple(feature.shape[1:]) for feature in (student, teacher)]
            layers = f"{self.student_layer!r} gives {shapes[0]} and {self.teacher_layer!r} {shapes[1]}"
            hint = "name two maps or two vectors with student_layer and teacher_layer"
            raise InputError(f"hint: {layers}: a map cannot be matched with a vector", hint)
        self.regressor = Regressor(student, teacher)

    def forward(self, step: Step) -> Tensor:
        mapped = self.regressor(step.student_features[self.student_layer])
        return self.options.hint_weight * feature_mse(mapped, step.teacher_features[self.teacher_layer])

    def formula(self) -> str:
        return f"{self.options.hint_weight:g}·MSE(regressor({self.student_layer}), {self.teacher_layer})"
