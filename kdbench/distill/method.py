"""The interface of a distillation method: one weighted term of a student's loss, with its own options."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from kdbench import plugins
from kdbench.data.dataset import Task
from kdbench.distill.losses import upcast
from kdbench.errors import InputError
from kdbench.models.feature_hooks import require_layer
from kdbench.models.features.extractor import FeatureExtractor, require_gradients
from kdbench.models.features.layout_evidence import layouts_of
from kdbench.models.features.layouts import Layout, LayoutName
from kdbench.models.features.modes import evaluation_mode
from kdbench.recipe import Model
from kdbench.registry import is_shipped
from kdbench.user_input.validation import problem


class MethodOptions(BaseModel):
    """The keys that a recipe can set for a method; unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, eq=False)
class MethodContext:
    """The networks and data with which a method is built.

    `student` and `teachers` are the networks, `example` (2, C, H, W) a batch that they accept, and `labels` (N,) those
    of the training samples by position. `classes` is the number of classes. `build` makes another network for the same
    data from a model (None: the student's) and a seed. If the `task` is regression, the labels are targets (N, D) and
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
    """One teacher's output for a batch, detached: logits (B, C), if a term needs them, and the requested features."""

    logits: Tensor | None
    features: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Step:
    """One training step as a method sees it.

    `labels` are (B,) int64, distributions (B, C) where images were mixed, or targets (B, D) of a regression. `index`
    (B,) int64 are the samples' numbers in the data set, which no split or subset changes: use them to look up stored
    values. `position` (B,) int64 are their positions in the training part, of which `MethodContext.labels` has the
    labels. Features are by module path, of the layers that the step's methods name. `teacher_outputs` has one item per
    teacher, and is empty if no term of the step needs a teacher. `class_weights` (C,) and their mean over the labels of
    the whole update, `mean_weight`, are those of the cross-entropy with the labels, if classes have weights;
    `label_smoothing` is that of the cross-entropy.
    """

    inputs: Tensor
    labels: Tensor
    index: Tensor
    position: Tensor
    epoch: int
    student_logits: Tensor
    student_features: Mapping[str, Tensor] = field(default_factory=dict)
    teacher_outputs: tuple[TeacherOutput, ...] = ()
    class_weights: Tensor | None = None
    mean_weight: Tensor | None = None
    label_smoothing: float = 0.0

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

    `default_ce_weight`: weight of the cross-entropy in addition to the term in its authors' experiments.
    `needs_teacher`: the term uses teachers. `needs_logits`: it uses their logits, not only features.
    `uses_all_teachers`: it uses more than the first teacher. `combines_teachers`: it is meant for several, which the
    student has to name. `needs_classes`: it is defined only for classes, not for
    the predicted numbers of a regression. `uses_label_loss`: it has networks that also learn from the labels, as the
    student does. `supports_mixed_images`: it is defined for images mixed from two samples (mixup, cutmix).
    `supports_multiple_processes`: several processes can train it together. `least_batch`: the minimum number of samples
    of a batch for which the term is defined. `canonical_features`: it takes features in canonical form, not as the
    layers return them. `student_layers`, `teacher_layers`: module paths of the features that `forward` needs.
    """

    Options: ClassVar[type[MethodOptions]] = MethodOptions
    default_ce_weight: ClassVar[float] = 1.0
    needs_teacher: ClassVar[bool] = True
    needs_logits: ClassVar[bool] = True
    uses_all_teachers: ClassVar[bool] = False
    combines_teachers: ClassVar[bool] = False
    needs_classes: ClassVar[bool] = False
    uses_label_loss: ClassVar[bool] = False
    supports_mixed_images: ClassVar[bool] = True
    supports_multiple_processes: ClassVar[bool] = True
    least_batch: ClassVar[int] = 1
    canonical_features: ClassVar[bool] = True
    student_layers: tuple[str, ...] = ()
    teacher_layers: tuple[str, ...] = ()

    def __init__(self, options: MethodOptions, context: MethodContext) -> None:
        super().__init__()
        self.options = options
        self.student_layouts: dict[str, Layout] = {}
        self.teacher_layouts: dict[str, Layout] = {}
        self._frozen = context.teachers  # in a tuple, so that they are not submodules

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; teachers stay in evaluation mode, also one that a method holds."""
        super().train(mode)
        for teacher in self._frozen:
            teacher.eval()
        return self

    @classmethod
    def from_recipe(cls, name: str, options: Mapping[str, Any], context: MethodContext) -> "Method":
        """Build the method from a recipe's keys; raises InputError for wrong keys, values and layers."""
        try:
            validated = cls.Options(**plugins.with_paths(options))
        except ValidationError as error:
            known = f"options: {', '.join(cls.Options.model_fields)}"
            raise problem(error, cls.Options, noun="option").as_error(f"method {name!r}", known) from error
        method = cls(validated, context) if is_shipped(cls) else cls._from_user_code(name, validated, context)
        if cls.canonical_features:
            method.lay_out(context)
        else:
            for layer in method.student_layers:
                require_layer(context.student, layer)
            for layer in method.teacher_layers:
                require_layer(context.teacher, layer)
        if method.student_layers:
            require_gradients(context.student, method.student_layers, context.example)
        return method

    @classmethod
    def _from_user_code(cls, name: str, options: MethodOptions, context: MethodContext) -> "Method":
        """Build a user's method; any error that it raises becomes an InputError."""
        subject, hint = f"method {name!r}", "__init__ gets the options and the context: see docs/distillation.md"
        method: Method = plugins.called(lambda: cls(options, context), {}, {}, subject, hint=hint)
        return method

    def lay_out(
        self, context: MethodContext, student: LayoutName | None = None, teacher: LayoutName | None = None
    ) -> None:
        """Determine the layouts of the method's layers, or use the given names; raises InputError as `layouts_of`."""
        if layers := [layer for layer in self.student_layers if layer not in self.student_layouts]:
            self.student_layouts |= layouts_of(context.student, layers, context.example, student, side="student")
        if layers := [layer for layer in self.teacher_layers if layer not in self.teacher_layouts]:
            self.teacher_layouts |= layouts_of(context.teacher, layers, context.example, teacher, side="teacher")

    def canonical(self, step: Step) -> Step:
        """Return `step` with the features of the method's layers in canonical form."""
        if not self.student_layouts and not self.teacher_layouts:
            return step
        first, *others = step.teacher_outputs or (TeacherOutput(None),)
        teacher = replace(first, features=_canonical(first.features, self.teacher_layouts))
        features = _canonical(step.student_features, self.student_layouts)
        outputs = (teacher, *others) if step.teacher_outputs else ()
        return replace(step, student_features=features, teacher_outputs=outputs)

    @abstractmethod
    def forward(self, step: Step) -> Tensor:
        """Return the weighted loss of one step, a scalar."""

    def formula(self) -> str:
        """Return the term in words and numbers, for the record: by default its name and options."""
        options = ", ".join(f"{name} {value}" for name, value in self.options.model_dump().items())
        return f"{type(self).__name__}({options})"


class LayerOptions(MethodOptions):
    """The two layers, as module paths; the method chooses a layer that is not named.

    The layouts are the axes of their outputs, for layers whose axes kdbench cannot determine.
    """

    student_layer: str | None = None
    teacher_layer: str | None = None
    student_layout: LayoutName | None = None
    teacher_layout: LayoutName | None = None


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
        self.lay_out(context, options.student_layout, options.teacher_layout)

    @property
    def layer_descriptions(self) -> tuple[str, str]:
        """The paths of the two layers for a formula, marked where only the class token is compared."""
        sides = (self.student_layer, self.student_layouts), (self.teacher_layer, self.teacher_layouts)
        student, teacher = (
            f"{layer} (class token)" if layouts[layer].class_token else layer for layer, layouts in sides
        )
        return student, teacher

    def examples(self, context: MethodContext) -> tuple[Tensor, Tensor]:
        """Return the features of the student's and the teacher's layer for the context's example, in canonical form."""
        (student,) = layer_outputs(context.student, self.student_layouts, context.example)
        (teacher,) = layer_outputs(context.teacher, self.teacher_layouts, context.example)
        return student, teacher


def require_all_classes(context: MethodContext, reason: str) -> None:
    """Raise InputError, with the `reason`, if a teacher lacks classes of the data: their logits are -inf."""
    for teacher in context.teachers:
        absent: tuple[int, ...] = getattr(teacher, "absent_classes", ())
        if absent:
            classes = f"class{'es' * (len(absent) > 1)} {', '.join(map(str, absent))}"
            message = f"{reason}, but the teacher has no output for {classes} of the data"
            hint = "use kd without standardize, or dkd, or leave classes without samples out of the data"
            raise InputError(message, hint)


def layer_outputs(network: nn.Module, layers: Sequence[str] | Mapping[str, Layout], inputs: Tensor) -> list[Tensor]:
    """Return the features of `layers` for `inputs`, in canonical form; without layouts these are determined.

    The network runs in evaluation mode and is left as it was. Raises InputError as `layouts_of` does.
    """
    layouts = layers if isinstance(layers, Mapping) else layouts_of(network, layers, inputs)
    with torch.no_grad(), evaluation_mode(network):
        _, features = FeatureExtractor(network).run(inputs, tuple(layouts))
    return [layout.canonical(features[layer]) for layer, layout in layouts.items()]


def _canonical(features: Mapping[str, Any], layouts: Mapping[str, Layout]) -> dict[str, Tensor]:
    return {layer: layouts[layer].canonical(value) if layer in layouts else value for layer, value in features.items()}


def pooled(features: Tensor) -> Tensor:
    """Return vectors (B, C) of features in canonical form, averaged over positions or tokens, in float32."""
    if features.dim() == 3:
        return upcast(features).mean(dim=1)
    return upcast(features).mean(dim=tuple(range(2, features.dim()))) if features.dim() > 3 else upcast(features)
