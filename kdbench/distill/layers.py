"""The layers that a method compares: which ones, and what flows out of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from kdbench.distill.losses.inputs import wide
from kdbench.distill.method import Method, MethodContext, MethodOptions
from kdbench.errors import InputError
from kdbench.models.taps import Taps


class LayerOptions(MethodOptions):
    """The two layers, as module paths; one that is not named is the method's own choice."""

    student_layer: str | None = None
    teacher_layer: str | None = None


class LayerMethod(Method):
    """A method that compares one layer of the student with one of the first teacher.

    `usual` chooses the layer of a network that the options do not name.
    """

    def __init__(self, options: LayerOptions, setting: MethodContext, usual: Callable[[nn.Module], str]) -> None:
        super().__init__(options, setting)
        self.student_layer = options.student_layer or usual(setting.student)
        self.teacher_layer = options.teacher_layer or usual(setting.teacher)

    @property
    def student_layers(self) -> tuple[str, ...]:
        """The one tapped layer of the student."""
        return (self.student_layer,)

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        """The one tapped layer of the teacher."""
        return (self.teacher_layer,)

    def examples(self, setting: MethodContext) -> tuple[Tensor, Tensor]:
        """Return what the student's and the teacher's layer put out for the setting's example.

        Raises InputError as `outputs` does.
        """
        (student,) = outputs(setting.student, self.student_layers, setting.example)
        (teacher,) = outputs(setting.teacher, self.teacher_layers, setting.example)
        return student, teacher


def outputs(network: nn.Module, layers: Sequence[str], images: Tensor) -> list[Tensor]:
    """Return what each of `layers` puts out for `images`: maps (B, C, H, W) or vectors (B, D).

    The network runs in evaluation mode and is left as it was. Raises InputError for a layer that it does not
    have, that it does not pass through, or that puts out something else.
    """
    with torch.no_grad(), evaluation_mode(network), Taps(network, layers) as taps:
        network(images)
    for layer in layers:
        feature = taps.features.get(layer)
        if not isinstance(feature, Tensor) or feature.dim() not in {2, 4}:
            raise InputError(
                f"layer {layer!r} of {type(network).__name__} gives {_described(feature)}, and neither maps "
                "(channels, height, width) nor vectors",
                "name a layer that gives one or the other",
            )
    return [taps.features[layer] for layer in layers]


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Put `network` in evaluation mode, and each of its modules back in its mode afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def pooled(features: Tensor) -> Tensor:
    """Return vectors (B, C) of maps (B, C, H, W), averaged over their cells, or of vectors (B, C), in float32."""
    return wide(features).mean(dim=(2, 3)) if features.dim() == 4 else wide(features)


def _described(feature: object) -> str:
    if feature is None:
        return "nothing (it is not passed through)"
    return str(tuple(feature.shape[1:])) if isinstance(feature, Tensor) else type(feature).__name__
