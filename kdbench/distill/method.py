"""What a distillation method is: one weighted term of a student's loss, with options of its own."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from kdbench.recipe import Model
from kdbench.validation import problem


class MethodOptions(BaseModel):
    """The keys a recipe may give a method; unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, eq=False)
class MethodContext:
    """What a method may look at when it is set up.

    Both sides' networks, a batch `example` (2, C, H, W) they accept, the `labels` (N,) of the training samples by
    position, the number of `classes`, and `build`, which makes another network of the student's kind from a seed.
    """

    student: nn.Module
    teachers: tuple[nn.Module, ...]
    example: Tensor
    labels: Tensor
    classes: int
    build: Callable[[Model | None, int], nn.Module]

    @property
    def teacher(self) -> nn.Module:
        """The first teacher."""
        return self.teachers[0]


@dataclass(frozen=True, eq=False)
class TeacherOutput:
    """What one teacher says of one batch, detached: logits (B, C), if a term wants them, and the tapped features."""

    logits: Tensor | None
    features: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Step:
    """One training step as a method sees it.

    `labels` are (B,) int64, or distributions (B, C) where images were mixed; `index` (B,) int64 the samples' positions
    in the training part. Features are those of the layers that the method tapped, by module path; there is one lesson
    a teacher, and none while no term of the step is `taught`.
    """

    images: Tensor
    labels: Tensor
    index: Tensor
    epoch: int
    student_logits: Tensor
    student_features: Mapping[str, Tensor] = field(default_factory=dict)
    lessons: tuple[TeacherOutput, ...] = ()

    @property
    def teacher_logits(self) -> Tensor:
        """The first teacher's logits (B, C)."""
        return self.all_teacher_logits[0]

    @property
    def all_teacher_logits(self) -> tuple[Tensor, ...]:
        """Every teacher's logits (B, C)."""
        heard = tuple(lesson.logits for lesson in self.lessons if lesson.logits is not None)
        assert len(heard) == len(self.lessons), "a method that says it wants no logits asks for them"
        return heard

    @property
    def teacher_features(self) -> Mapping[str, Tensor]:
        """The first teacher's features."""
        return self.lessons[0].features


class Method(nn.Module, ABC):
    """One term of a student's loss; the result of `forward` is already weighted.

    A method may own parameters (a regressor) and buffers: they are trained and saved with the student and never
    exported. `usual_ce_weight` is the weight of the cross-entropy that its authors put beside it.

    `taught` says whether it asks teachers at all, `wants_logits` whether it does so for more than features,
    `uses_all_teachers` whether it listens to more than the first, `supports_mixed_images` whether it makes sense of images mixed of
    two samples, `admits_processes` whether it may be trained by several processes at once.
    """

    Options: ClassVar[type[MethodOptions]]
    usual_ce_weight: ClassVar[float]
    taught: ClassVar[bool] = True
    wants_logits: ClassVar[bool] = True
    uses_all_teachers: ClassVar[bool] = False
    supports_mixed_images: ClassVar[bool] = True
    admits_processes: ClassVar[bool] = True

    @classmethod
    def from_recipe(cls, name: str, options: Mapping[str, Any], setting: MethodContext) -> "Method":
        """Build the method from a recipe's keys; raises InputError for one it does not admit."""
        try:
            admitted = cls.Options(**options)
        except ValidationError as error:
            known = f"options: {', '.join(cls.Options.model_fields)}"
            raise problem(error, cls.Options, noun="option").as_error(f"method {name!r}", known) from error
        return cls(admitted, setting)

    @abstractmethod
    def __init__(self, options: MethodOptions, setting: MethodContext) -> None:
        """Set the term up for these networks and data; raises InputError where they do not suit it."""
        super().__init__()

    @property
    def student_layers(self) -> tuple[str, ...]:
        """Module paths of the student's features that `forward` needs."""
        return ()

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        """Module paths of the teachers' features that `forward` needs."""
        return ()

    @abstractmethod
    def forward(self, step: Step) -> Tensor:
        """Return the weighted loss of one step, a scalar."""

    @abstractmethod
    def formula(self) -> str:
        """Return the term in words and numbers, for the record."""
