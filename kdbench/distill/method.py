"""The interface of a distillation method: one weighted term of a student's loss, with its own options."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from kdbench import plugins
from kdbench.data.dataset import Task
from kdbench.distill.losses import wide
from kdbench.errors import InputError
from kdbench.models.tapped import TappedNetwork
from kdbench.recipe import Model
from kdbench.validation import problem


class MethodOptions(BaseModel):
    """The keys that a recipe can set for a method; unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, eq=False)
class MethodContext:
    """What a method can use when it is set up.

    The student's and the teachers' networks, a batch `example` (2, C, H, W) that they accept, the `labels` (N,) of the
    training samples by position, the number of `classes`, and `build`, which makes another network for the same data
    from a model (None: the student's) and a seed. Where the `task` is regression, the labels are targets (N, D) and
    `classes` is D.
    """

    student: nn.Module
    teachers: tuple[nn.Module, ...]
    example: Tensor
    labels: Tensor
    classes: int
    build: Callable[[Model | None, int], nn.Module]
    task: Task = "classification"

    @property
    def teacher(self) -> nn.Module:
        """The first teacher."""
        return self.teachers[0]


@dataclass(frozen=True, eq=False)
class TeacherOutput:
    """One teacher's output for a batch, detached: logits (B, C), if a term needs them, and the tapped features."""

    logits: Tensor | None
    features: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Step:
    """One training step as a method sees it.

    `labels` are (B,) int64, distributions (B, C) where images were mixed, or targets (B, D) of a regression. `index`
    (B,) int64 are the samples' numbers in the data set, which no split or subset changes: use them to look up values of
    your own. `position` (B,) int64 are their positions in the training part, of which `MethodContext.labels` has the
    labels. Features are by module path, of the layers that the step's methods name. `teacher_outputs` has one item per
    teacher, and is empty if no term of the step needs a teacher.
    """

    inputs: Tensor
    labels: Tensor
    index: Tensor
    position: Tensor
    epoch: int
    student_logits: Tensor
    student_features: Mapping[str, Tensor] = field(default_factory=dict)
    teacher_outputs: tuple[TeacherOutput, ...] = ()

    @property
    def teacher_logits(self) -> Tensor:
        """The first teacher's logits (B, C)."""
        return self.all_teacher_logits[0]

    @property
    def all_teacher_logits(self) -> tuple[Tensor, ...]:
        """Every teacher's logits (B, C)."""
        logits = tuple(output.logits for output in self.teacher_outputs if output.logits is not None)
        assert len(logits) == len(self.teacher_outputs), "a method with needs_logits = False uses logits"
        return logits

    @property
    def teacher_features(self) -> Mapping[str, Tensor]:
        """The first teacher's features."""
        return self.teacher_outputs[0].features


class Method(nn.Module, ABC):
    """One term of a student's loss; the result of `forward` is already weighted.

    A method can have parameters (a regressor) and buffers: they are trained and saved with the student, never exported.
    `__init__` raises InputError if the method cannot work with the networks and data of its context.

    `default_ce_weight`: weight of the cross-entropy beside the term in its authors' experiments.
    `needs_teacher`: the term uses teachers. `needs_logits`: it uses their logits, not only features.
    `uses_all_teachers`: it uses more than the first teacher.
    `needs_classes`: it is defined for classes alone, not for outputs that are the predicted numbers of a regression.
    `supports_mixed_images`: it is defined for images mixed from two samples (mixup, cutmix).
    `supports_multiple_processes`: several processes can train it together.
    `student_layers`, `teacher_layers`: module paths of the features that `forward` needs.
    """

    Options: ClassVar[type[MethodOptions]] = MethodOptions
    default_ce_weight: ClassVar[float] = 1.0
    needs_teacher: ClassVar[bool] = True
    needs_logits: ClassVar[bool] = True
    uses_all_teachers: ClassVar[bool] = False
    needs_classes: ClassVar[bool] = False
    supports_mixed_images: ClassVar[bool] = True
    supports_multiple_processes: ClassVar[bool] = True
    student_layers: tuple[str, ...] = ()
    teacher_layers: tuple[str, ...] = ()

    def __init__(self, options: MethodOptions, context: MethodContext) -> None:
        super().__init__()
        self.options = options
        self._frozen = context.teachers  # in a tuple, so that they are no submodules

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; teachers stay in evaluation mode, also one that a method holds."""
        super().train(mode)
        for teacher in self._frozen:
            teacher.eval()
        return self

    @classmethod
    def from_recipe(cls, name: str, options: Mapping[str, Any], context: MethodContext) -> "Method":
        """Build the method from a recipe's keys; raises InputError for an unknown key or an invalid value."""
        try:
            admitted = cls.Options(**plugins.with_paths(options))
        except ValidationError as error:
            known = f"options: {', '.join(cls.Options.model_fields)}"
            raise problem(error, cls.Options, noun="option").as_error(f"method {name!r}", known) from error
        if cls.__module__.startswith(f"{__name__.partition('.')[0]}."):
            return cls(admitted, context)
        return cls._foreign(name, admitted, context)

    @classmethod
    def _foreign(cls, name: str, admitted: MethodOptions, context: MethodContext) -> "Method":
        """Build a method of a user's own; raises InputError for whatever it raises."""
        subject, give = f"method {name!r}", "__init__ gets the options and the context: see docs/distillation.md"
        built: Method = plugins.called(lambda: cls(admitted, context), {}, {}, subject, give=give)
        return built

    @abstractmethod
    def forward(self, step: Step) -> Tensor:
        """Return the weighted loss of one step, a scalar."""

    def formula(self) -> str:
        """Return the term in words and numbers, for the record: by default its name and options."""
        options = ", ".join(f"{name} {value}" for name, value in self.options.model_dump().items())
        return f"{type(self).__name__}({options})"


class LayerOptions(MethodOptions):
    """The two layers, as module paths; the method chooses a layer that is not named."""

    student_layer: str | None = None
    teacher_layer: str | None = None


class LayerMethod(Method):
    """A method that compares one layer of the student with one of the first teacher.

    `default_layer` returns the layer of a network for which the options name none.
    """

    def __init__(
        self, options: LayerOptions, context: MethodContext, default_layer: Callable[[nn.Module], str]
    ) -> None:
        super().__init__(options, context)
        self.student_layer = options.student_layer or default_layer(context.student)
        self.teacher_layer = options.teacher_layer or default_layer(context.teacher)
        self.student_layers, self.teacher_layers = (self.student_layer,), (self.teacher_layer,)

    def examples(self, context: MethodContext) -> tuple[Tensor, Tensor]:
        """Return the outputs of the student's and the teacher's layer for the context's example.

        Raises InputError as `layer_outputs` does.
        """
        (student,) = layer_outputs(context.student, self.student_layers, context.example)
        (teacher,) = layer_outputs(context.teacher, self.teacher_layers, context.example)
        return student, teacher


def layer_outputs(network: nn.Module, layers: Sequence[str], images: Tensor) -> list[Tensor]:
    """Return the output of each of `layers` for `images`: maps (B, C, H, W) or vectors (B, D).

    The network runs in evaluation mode and is left as it was. Raises InputError for a layer that it does not
    have or does not use, or whose output is something else.
    """
    with torch.no_grad(), evaluation_mode(network):
        _, features = TappedNetwork(network).run(images, layers)
    for layer in layers:
        feature = features[layer]
        if not isinstance(feature, Tensor) or feature.dim() not in {2, 4}:
            described = f"layer {layer!r} of {type(network).__name__} gives {_described(feature)}"
            message = f"{described}, but maps (channels, height, width) or vectors are needed"
            raise InputError(message, "name a layer that gives maps or vectors")
    return [features[layer] for layer in layers]


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
    return str(tuple(feature.shape[1:])) if isinstance(feature, Tensor) else type(feature).__name__
