"""Attention transfer (Zagoruyko & Komodakis 2017, "Paying More Attention to Attention").

The student's attention maps, the mean of f² over the channels, match the teacher's, layer by layer.
"""

import re
from collections.abc import Mapping, Sequence

from pydantic import Field
from torch import Tensor, nn

from kdbench.distill.losses.features import attention_loss
from kdbench.distill.method import Method, MethodContext, MethodOptions, Step, layer_outputs
from kdbench.distill.methods import METHODS
from kdbench.errors import InputError
from kdbench.models.feature_hooks import required_stages
from kdbench.models.features.layout_evidence import layouts_of
from kdbench.models.features.layouts import Layout, LayoutName, channels_second, comparable, require_comparable

_ONE_CELL = "vectors or maps of one cell, and attention compares positions"


class AttentionOptions(MethodOptions):
    """Weight of the term, and the layers of both networks in the order in which they are compared, as module paths.

    Without either list, all stages that have maps of several cells are compared. If one network has more stages, as
    many as the other has are chosen, evenly spread and with the last. A layout states the axes of all layers of one
    side, where kdbench cannot determine them.
    """

    attention_weight: float = Field(default=1000.0, ge=0, le=1e9)
    student_layers: tuple[str, ...] = ()
    teacher_layers: tuple[str, ...] = ()
    student_layout: LayoutName | None = None
    teacher_layout: LayoutName | None = None


@METHODS.register("attention")
class Attention(Method):
    """attention_weight · Σ_l mean((Q_s − Q_t)²), Q = L2norm(mean_c f²), over the layers l."""

    Options = AttentionOptions
    options: AttentionOptions
    needs_logits = False

    def __init__(self, options: AttentionOptions, context: MethodContext) -> None:
        super().__init__(options, context)
        student = _Candidates(
            context.student, options.student_layers, context.example, options.student_layout, "student"
        )
        teacher = _Candidates(
            context.teacher, options.teacher_layers, context.example, options.teacher_layout, "teacher"
        )
        choose = _named_layers if options.student_layers or options.teacher_layers else _default_layers
        self.student_layers, self.teacher_layers = choose(student, teacher)
        self.student_layouts = {layer: student.layouts[layer] for layer in self.student_layers}
        self.teacher_layouts = {layer: teacher.layouts[layer] for layer in self.teacher_layers}
        self._on_maps = [
            _require_comparable(student, teacher, *pair)
            for pair in zip(self.student_layers, self.teacher_layers, strict=True)
        ]

    def forward(self, step: Step) -> Tensor:
        student = self._maps(step.student_features, self.student_layouts, self.student_layers)
        teacher = self._maps(step.teacher_features, self.teacher_layouts, self.teacher_layers)
        return self.options.attention_weight * attention_loss(student, teacher)

    def _maps(
        self, features: Mapping[str, Tensor], layouts: Mapping[str, Layout], layers: Sequence[str]
    ) -> list[Tensor]:
        """Return the features of `layers`, channels on axis 1, and tokens as maps where the other side is a map."""
        return [
            comparable(features[layer], layouts[layer], on_maps)
            for layer, on_maps in zip(layers, self._on_maps, strict=True)
        ]

    def formula(self) -> str:
        pairs = ", ".join(f"{s}–{t}" for s, t in zip(self.student_layers, self.teacher_layers, strict=True))
        return f"{self.options.attention_weight:g}·Σ mean((Q_s − Q_t)²) over {pairs}"


class _Candidates:
    """The layers of one network that may be compared, its stages if none are named, with their features."""

    def __init__(
        self, network: nn.Module, layers: Sequence[str], example: Tensor, layout: LayoutName | None, side: str
    ) -> None:
        self.network_name = type(network).__name__
        self.layers = tuple(layers) or required_stages(network)
        self.layouts = layouts_of(network, self.layers, example, layout, side=side)
        self.features = dict(zip(self.layouts, layer_outputs(network, self.layouts, example), strict=True))

    def with_positions(self) -> list[str]:
        """Return the layers with features of several cells: the attention of a single cell is always 1."""
        return [layer for layer in self.layers if channels_second(self.features[layer])[0, 0].numel() > 1]


def _named_layers(student: _Candidates, teacher: _Candidates) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the layers that the options name; all stages of a network for which they name none."""
    if len(student.layers) != len(teacher.layers):
        listed = f"{', '.join(student.layers)}; {', '.join(teacher.layers)}"
        counts = f"{len(student.layers)} layers of the student and {len(teacher.layers)} of the teacher"
        raise InputError(
            f"attention: {counts}: {listed}", "give student_layers and teacher_layers the same number of paths"
        )
    for side in (student, teacher):
        if single_cell := set(side.layers).difference(side.with_positions()):
            message = f"attention: {min(single_cell)!r} of {side.network_name} returns {_ONE_CELL}"
            raise InputError(message, "name layers that return larger maps, or choose another method")
    return student.layers, teacher.layers


def _default_layers(student: _Candidates, teacher: _Candidates) -> tuple[tuple[str, ...], tuple[str, ...]]:
    compared = student.with_positions(), teacher.with_positions()
    count = min(map(len, compared))
    if not count:
        message = f"attention: the stages of the student or of the teacher return {_ONE_CELL}"
        hint = "name layers that return larger maps with student_layers and teacher_layers, or choose another method"
        raise InputError(message, hint)
    return _spread(compared[0], count), _spread(compared[1], count)


def _require_comparable(student: _Candidates, teacher: _Candidates, student_layer: str, teacher_layer: str) -> bool:
    """Return whether tokens have to become maps; raises InputError if the two layers cannot be compared."""
    layouts = student.layouts[student_layer], teacher.layouts[teacher_layer]
    try:
        return require_comparable(student.features[student_layer], teacher.features[teacher_layer], *layouts)
    except InputError as error:
        hint = re.sub(r"_layer\b", "_layers", error.hint)
        raise InputError(f"attention: {student_layer!r} and {teacher_layer!r}: {error.message}", hint) from error


def _spread(layers: Sequence[str], count: int) -> tuple[str, ...]:
    """Return `count` layers, evenly spread, with the last: for 3 of 12 the 4th, the 8th and the 12th."""
    return tuple(layers[-(-number * len(layers) // count) - 1] for number in range(1, count + 1))
