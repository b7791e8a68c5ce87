"""What a distillation method is: one weighted term of a student's loss, with options of its own."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from kdbench.errors import InputError
from kdbench.registry import suggestion


class MethodOptions(BaseModel):
    """The keys a recipe may give a method; unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, eq=False)
class Pair:
    """What a method may look at when it is set up: both networks, and a batch (2, C, H, W) they accept."""

    student: nn.Module
    teacher: nn.Module
    example: Tensor


@dataclass(frozen=True, eq=False)
class Step:
    """One training step as a method sees it. Everything of the teacher's is detached.

    Features are those of the layers that the method tapped, by module path.
    """

    labels: Tensor
    student_logits: Tensor
    teacher_logits: Tensor
    epoch: int
    student_features: Mapping[str, Tensor] = field(default_factory=dict)
    teacher_features: Mapping[str, Tensor] = field(default_factory=dict)


class Method(nn.Module, ABC):
    """One term of a student's loss; the result of `forward` is already weighted.

    A method may own parameters (a regressor): they are trained with the student and never exported.
    `usual_ce_weight` is the weight of the cross-entropy that its authors put beside it.
    """

    Options: ClassVar[type[MethodOptions]]
    usual_ce_weight: ClassVar[float]

    @classmethod
    def from_recipe(cls, name: str, options: Mapping[str, Any], pair: Pair) -> "Method":
        """Build the method from a recipe's keys; raises InputError for one it does not admit."""
        try:
            admitted = cls.Options(**options)
        except ValidationError as error:
            raise _explained(error, name, list(cls.Options.model_fields)) from error
        return cls(admitted, pair)

    @abstractmethod
    def __init__(self, options: MethodOptions, pair: Pair) -> None:
        """Set the term up for these two networks; raises InputError where they do not suit it."""
        super().__init__()

    @property
    def student_layers(self) -> tuple[str, ...]:
        """Module paths of the student's features that `forward` needs."""
        return ()

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        """Module paths of the teacher's features that `forward` needs."""
        return ()

    @abstractmethod
    def forward(self, step: Step) -> Tensor:
        """Return the weighted loss of one step, a scalar."""

    @abstractmethod
    def formula(self) -> str:
        """Return the term in words and numbers, for the record."""


def _explained(error: ValidationError, name: str, known: list[str]) -> InputError:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        hint = suggestion(key, known, f"it has {', '.join(known)}")
        return InputError(f"method {name!r} has no option {key!r}", hint)
    return InputError(
        f"method {name!r}: {key}: {first['msg']} (given: {first['input']!r})", f"options: {', '.join(known)}"
    )
