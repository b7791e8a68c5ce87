"""Attention transfer (Zagoruyko & Komodakis 2017, "Paying More Attention to Attention").

The student's attention maps, the mean of f² over the channels, match the teacher's, layer by layer.
"""

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor, nn

from kdbench.distill.losses.features import attention_loss
from kdbench.distill.method import Method, MethodContext, MethodOptions, Step, layer_outputs
from kdbench.distill.methods import METHODS
from kdbench.errors import InputError
from kdbench.models.taps import required_stages

_ONE_CELL = "vectors or maps of one cell, and attention compares positions"


class AttentionOptions(MethodOptions):
    """Weight of the term, and the layers of both networks in the order in which they are compared, as module paths.

    Without either list, all stages that have maps of several cells are compared. If one network has more stages, as
    many as the other has are chosen, evenly spread and with the last.
    """

    attention_weight: float = Field(default=1000.0, ge=0)
    student_layers: tuple[str, ...] = ()
    teacher_layers: tuple[str, ...] = ()


@METHODS.register("attention")
class Attention(Method):
    """attention_weight · Σ_l mean((Q_s − Q_t)²), Q = L2norm(mean_c f²), over the layers l."""

    Options = AttentionOptions
    options: AttentionOptions
    needs_logits = False

    def __init__(self, options: AttentionOptions, context: MethodContext) -> None:
        super().__init__(options, context)
        named = options.student_layers or options.teacher_layers
        self.student_layers, self.teacher_layers = _named(options, context) if named else _default(context)

    def forward(self, step: Step) -> Tensor:
        student = [step.student_features[layer] for layer in self.student_layers]
        teacher = [step.teacher_features[layer] for layer in self.teacher_layers]
        return self.options.attention_weight * attention_loss(student, teacher)

    def formula(self) -> str:
        pairs = ", ".join(f"{s}–{t}" for s, t in zip(self.student_layers, self.teacher_layers, strict=True))
        return f"{self.options.attention_weight:g}·Σ mean((Q_s − Q_t)²) over {pairs}"


def _named(options: AttentionOptions, context: MethodContext) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the layers that the options name; all stages of a network for which they name none."""
    student = options.student_layers or required_stages(context.student)
    teacher = options.teacher_layers or required_stages(context.teacher)
    if len(student) != len(teacher):
        listed = f"{', '.join(student)}; {', '.join(teacher)}"
        message = f"attention: {len(student)} layers of the student and {len(teacher)} of the teacher: {listed}"
        raise InputError(message, "give student_layers and teacher_layers as many paths each")
    for network, layers in ((context.student, student), (context.teacher, teacher)):
        if without := set(layers).difference(_with_positions(network, layers, context.example)):
            message = f"attention: {min(without)!r} of {type(network).__name__} gives {_ONE_CELL}"
            raise InputError(message, "name layers that give larger maps, or choose another method")
    return student, teacher


def _default(context: MethodContext) -> tuple[tuple[str, ...], tuple[str, ...]]:
    networks = (context.student, context.teacher)
    student, teacher = (_with_positions(network, required_stages(network), context.example) for network in networks)
    count = min(len(student), len(teacher))
    if not count:
        message = f"attention: the stages of the student or of the teacher give {_ONE_CELL}"
        hint = "name layers that give larger maps with student_layers and teacher_layers, or choose another method"
        raise InputError(message, hint)
    return _spread(student, count), _spread(teacher, count)


def _with_positions(network: nn.Module, layers: Sequence[str], example: Tensor) -> list[str]:
    """Return the `layers` whose maps have several cells: the attention of a single cell is always 1."""
    features = layer_outputs(network, layers, example)
    return [layer for layer, feature in zip(layers, features, strict=True) if feature[0, 0].numel() > 1]


def _spread(layers: Sequence[str], count: int) -> tuple[str, ...]:
    """Return `count` layers, evenly spread, with the last: for 3 of 12 the 4th, the 8th and the 12th."""
    return tuple(layers[-(-number * len(layers) // count) - 1] for number in range(1, count + 1))
