"""Attention transfer (Zagoruyko & Komodakis 2017, "Paying More Attention to Attention").

The student's attention maps, the mean of f² over the channels, match the teacher's, layer by layer.
"""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from kdbench.distill.losses.features import attention_loss
from kdbench.distill.method import Method, MethodContext, MethodOptions, Step, layer_outputs
from kdbench.distill.methods import METHODS
from kdbench.errors import InputError
from kdbench.models.taps import required_stages


class AttentionOptions(MethodOptions):
    """Weight of the term, and the layers of both networks in the order in which they are compared, as module paths.

    Where neither list is given, all stages that have maps of several cells are compared; if one network has more of
    them, as many as the other has, evenly spread and with the last.
    """

    attention_weight: float = Field(default=1000.0, ge=0)
    student_layers: tuple[str, ...] = ()
    teacher_layers: tuple[str, ...] = ()


@METHODS.register("attention")
class Attention(Method):
    """attention_weight · Σ_l mean((Q_s − Q_t)²), Q = L2norm(mean_c f²), over the layers l."""

    Options = AttentionOptions
    default_ce_weight: ClassVar[float] = 1.0
    needs_logits: ClassVar[bool] = False

    def __init__(self, options: AttentionOptions, context: MethodContext) -> None:
        super().__init__(options, context)
        self.weight = options.attention_weight
        named = bool(options.student_layers or options.teacher_layers)
        self._student_layers, self._teacher_layers = (_named if named else _default)(options, context)

    @property
    def student_layers(self) -> tuple[str, ...]:
        """The tapped layers of the student."""
        return self._student_layers

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        """The tapped layers of the teacher, each beside the student's."""
        return self._teacher_layers

    def forward(self, step: Step) -> Tensor:
        """Return the weighted term of one step."""
        student = [step.student_features[layer] for layer in self._student_layers]
        teacher = [step.teacher_features[layer] for layer in self._teacher_layers]
        return self.weight * attention_loss(student, teacher)

    def formula(self) -> str:
        """Return the term in words and numbers."""
        pairs = zip(self._student_layers, self._teacher_layers, strict=True)
        return f"{self.weight:g}·Σ mean((Q_s − Q_t)²) over " + ", ".join(f"{s}–{t}" for s, t in pairs)


def _named(options: AttentionOptions, context: MethodContext) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the layers that the options name; all stages of a network for which they name none."""
    student = options.student_layers or required_stages(context.student)
    teacher = options.teacher_layers or required_stages(context.teacher)
    if len(student) != len(teacher):
        raise InputError(
            f"attention: {len(student)} layers of the student and {len(teacher)} of the teacher: {', '.join(student)}; "
            f"{', '.join(teacher)}",
            "give student_layers and teacher_layers as many paths each",
        )
    for network, layers in ((context.student, student), (context.teacher, teacher)):
        without = set(layers).difference(_with_positions(network, layers, context.example))
        if without:
            raise InputError(
                f"attention: {min(without)!r} of {type(network).__name__} gives vectors or maps of one cell, and "
                "attention compares positions",
                "name layers that give larger maps, or choose another method",
            )
    return student, teacher


def _default(_options: AttentionOptions, context: MethodContext) -> tuple[tuple[str, ...], tuple[str, ...]]:
    stages = [
        _with_positions(network, required_stages(network), context.example)
        for network in (context.student, context.teacher)
    ]
    count = min(map(len, stages))
    if not count:
        raise InputError(
            "attention: the stages of the student or of the teacher give vectors or maps of one cell, and attention "
            "compares positions",
            "name layers that give larger maps with student_layers and teacher_layers, or choose another method",
        )
    return _spread(stages[0], count), _spread(stages[1], count)


def _with_positions(network: nn.Module, layers: Sequence[str], example: Tensor) -> list[str]:
    """Return those of `layers` whose maps have several cells: of one cell, the attention is 1 whatever it holds."""
    features = layer_outputs(network, layers, example)
    return [layer for layer, feature in zip(layers, features, strict=True) if feature[0, 0].numel() > 1]


def _spread(layers: Sequence[str], count: int) -> tuple[str, ...]:
    """Return `count` of the layers, evenly spread, the last among them: of 12 the 4th, the 8th and the 12th for 3."""
    return tuple(layers[-(-number * len(layers) // count) - 1] for number in range(1, count + 1))
