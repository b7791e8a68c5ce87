"""Hints (FitNets, Romero et al. 2015): a layer of the student, through a regressor, matches one of the teacher's.

The hint is a term in addition to the cross-entropy from the first step on. With `until_epoch = n, alone = true` it is
the first of two stages, as in the paper. For n epochs, it alone trains the student up to that layer; then the other
losses train the student.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from pydantic import Field
from torch import Tensor, nn

from kdbench.distill.losses.features import adaptive_avg_pool, feature_mse
from kdbench.distill.method import LayerMethod, LayerOptions, MethodContext, Step, layer_outputs
from kdbench.distill.methods import METHODS
from kdbench.errors import InputError
from kdbench.models.feature_hooks import middle_stage
from kdbench.models.features.layouts import comparable, require_comparable
from kdbench.models.features.probe import inputs_like


class HintOptions(LayerOptions):
    """Weight of the term; the default layer is the network's middle stage."""

    hint_weight: float = Field(default=100.0, ge=0, le=1e9)


_NOISE_SAMPLES = 16  # samples of noise that show whether a vector takes negative values

_CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORMS: dict[int, Any] = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


class Regressor(nn.Module):
    """Maps the student's feature to the teacher's shape: 1×1 convolution (or linear), batch norm, ReLU.

    Features are (B, C) or (B, C, …): vectors, tokens, maps or volumes. Where they differ in length, height or width,
    the student's is pooled or interpolated to the teacher's. The ReLU is left out when the teacher's feature takes
    negative values, which it could never reach.
    """

    def __init__(self, student: Tensor, teacher: Tensor) -> None:
        super().__init__()
        channels_in, channels_out = student.shape[1], teacher.shape[1]
        self.size = list(teacher.shape[2:])
        if self.size:
            self.map: nn.Module = _CONVOLUTIONS[len(self.size)](channels_in, channels_out, kernel_size=1, bias=False)
        else:
            self.map = nn.Linear(channels_in, channels_out, bias=False)
        self.norm = _NORMS[len(self.size)](channels_out)
        self.rectify = bool((teacher >= 0).all())

    def forward(self, feature: Tensor) -> Tensor:
        """Map features (B, C_s, …) or (B, C_s) to the teacher's shape."""
        if self.size and list(feature.shape[2:]) != self.size:
            if all(size >= least for size, least in zip(feature.shape[2:], self.size, strict=True)):
                feature = adaptive_avg_pool(feature, self.size)
            else:
                feature = F.interpolate(feature, size=self.size, mode=_MODES[len(self.size)], align_corners=False)
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
        self._layouts = self.student_layouts[self.student_layer], self.teacher_layouts[self.teacher_layer]
        try:
            self._on_maps = require_comparable(student, teacher, *self._layouts)
        except InputError as error:
            shapes = [tuple(feature.shape[1:]) for feature in (student, teacher)]
            layers = f"{self.student_layer!r} returns {shapes[0]} and {self.teacher_layer!r} {shapes[1]}"
            raise InputError(f"hint: {layers}: {error.message}", error.hint) from error
        if teacher.dim() == 2:  # two samples of vectors are too few to tell
            (more,) = layer_outputs(context.teacher, self.teacher_layouts, inputs_like(context.example, _NOISE_SAMPLES))
            teacher = torch.cat([teacher, more])
        self.regressor = Regressor(*self._prepared(student, teacher))

    def forward(self, step: Step) -> Tensor:
        features = step.student_features[self.student_layer], step.teacher_features[self.teacher_layer]
        student, teacher = self._prepared(*features)
        return self.options.hint_weight * feature_mse(self.regressor(student), teacher)

    def _prepared(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Return canonical features with their channels on axis 1, tokens as maps where the other side is a map."""
        student_layout, teacher_layout = self._layouts
        return comparable(student, student_layout, self._on_maps), comparable(teacher, teacher_layout, self._on_maps)

    def formula(self) -> str:
        student, teacher = self.layer_descriptions
        return f"{self.options.hint_weight:g}·MSE(regressor({student}), {teacher})"
