"""Relational distillation (Park et al. 2019, "Relational Knowledge Distillation").

Distances and angles between the samples of a batch in the student's feature space match the teacher's.
"""

from pydantic import Field
from torch import Tensor

from kdbench.distill.losses.features import rkd_angle, rkd_distance
from kdbench.distill.method import LayerMethod, LayerOptions, MethodContext, Step, pooled
from kdbench.distill.methods import METHODS
from kdbench.models.feature_hooks import last_stage


class RelationalOptions(LayerOptions):
    """Weights of the two parts; the default layer is the network's last stage."""

    relational_distance_weight: float = Field(default=25.0, ge=0, le=1e9)
    relational_angle_weight: float = Field(default=50.0, ge=0, le=1e9)


@METHODS.register("relational")
class Relational(LayerMethod):
    """relational_distance_weight · SmoothL1(distances) + relational_angle_weight · SmoothL1(angles) in a batch.

    Maps and tokens are averaged over their cells first. Angles take memory for B² features and B³ numbers.
    """

    Options = RelationalOptions
    needs_logits = False
    least_batch = 3  # two samples have one distance, which is its own mean, and no angle

    def __init__(self, options: RelationalOptions, context: MethodContext) -> None:
        super().__init__(options, context, last_stage)
        distances = (options.relational_distance_weight, rkd_distance, "distances")
        angles = (options.relational_angle_weight, rkd_angle, "angles")
        self.parts = [part for part in (distances, angles) if part[0]]
        self.examples(context)

    def forward(self, step: Step) -> Tensor:
        student = pooled(step.student_features[self.student_layer])
        teacher = pooled(step.teacher_features[self.teacher_layer])
        parts = (weight * loss(student, teacher) for weight, loss, _ in self.parts)
        return sum(parts, start=student.new_zeros(()))

    def formula(self) -> str:
        parts = " + ".join(f"{weight:g}·SmoothL1({name})" for weight, _, name in self.parts)
        return f"{parts or '0'} of {', '.join(self.layer_descriptions)}"
