"""The `[[teacher]]` and `[[student]]` tables: which network, taught by whom and how, starting from what."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from kdbench.recipe.data import Examples
from kdbench.recipe.training import Training
from kdbench.validation import Value


class Model(BaseModel):
    """A model by its name in the register; every other key is an option of that model."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """The keys beside `name`, for the model's factory."""
        return dict(self.model_extra or {})


class Term(BaseModel):
    """One weighted term of a student's objective: a distillation method by name, other keys are its options.

    It holds from `from_epoch` (0 is the first) until before `until_epoch`; below one they are shares of all epochs.
    While a term that is `alone` holds, it is the whole objective: neither the labels nor other terms count, as in the
    first of two stages.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    method: str
    from_epoch: float = Field(default=0, ge=0)
    until_epoch: float | None = Field(default=None, gt=0)
    alone: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """The keys beside those of every term, for the method's own validation."""
        return dict(self.model_extra or {})


class Start(Value):
    """Weights to begin with: (1 − `share`) of a fresh initialisation and `share` of another model's, of one shape.

    `model` names that model (default: the first teacher). With `batch_norm` "re-estimate" the running statistics are
    taken anew from the training images, for those of a mixture of weights are nobody's.
    """

    model: str | None = None
    share: float = Field(ge=0, le=1)
    batch_norm: Literal["re-estimate", "mix"] = "re-estimate"


class Quantize(Value):
    """Train with fake quantization: weights per output channel and symmetric, activations per tensor.

    `first_last_bits` are those of weights and activations in the first and in the last layer.
    """

    weight_bits: int = Field(default=8, ge=2, le=8)
    activation_bits: int = Field(default=8, ge=2, le=8)
    first_last_bits: int = Field(default=8, ge=2, le=8)


class SubStudents(Value):
    """A student made of `count` networks, each trained alone, with a linear head on their concatenated outputs.

    Each part has `features` outputs. `head` overrides the student's `training` for the fused network, of which only
    the head is trained, or with `tune` "all" everything.
    """

    count: int = Field(default=4, gt=1, le=64)
    features: int = Field(default=128, gt=0)
    tune: Literal["head", "all"] = "head"
    head: Training = Training()


class Trained(Value):
    """What teachers and students have in common.

    `seed_offset` makes another seed of each of the recipe's: models of one architecture begin alike unless theirs
    differ.
    `family` and `axes` say of which sweep the entry is a point, and which.
    """

    # No dots: they part the keys of an override.
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=80)
    model: Model
    training: Training = Training()
    data: Examples = Examples()
    seed_offset: int = Field(default=0, ge=0)
    family: str | None = None
    axes: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @field_validator("model", mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Teacher(Trained):
    """A model trained on the labels alone, to be learned from."""


class Student(Trained):
    """A smaller model. Without terms it is trained on the labels alone: the independent student.

    `teacher` names the model it learns from and is compared with, a teacher or another student (default: the first
    teacher); of several, the first is the one it is compared with. `ce_weight` weighs the cross-entropy with the labels
    (default: what is usual for the first term's method, or 1 without terms). `cache` says whether the teacher's logits
    are computed once and kept: `auto` where that is exact and saves work, `on` or an error, `off`.
    """

    teacher: tuple[str, ...] = ()
    ce_weight: float | None = Field(default=None, ge=0)
    terms: tuple[Term, ...] = ()
    cache: Literal["auto", "on", "off"] = "auto"
    start: Start | None = None
    quantize: Quantize | None = None
    sub_students: SubStudents | None = None

    @field_validator("teacher", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return () if value is None else (value,) if isinstance(value, str) else value

    @field_validator("terms", mode="before")
    @classmethod
    def _one_term(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if len(set(self.teacher)) < len(self.teacher):
            raise ValueError(f"student {self.name!r} names a teacher twice: {', '.join(self.teacher)}")
        if self.sub_students is not None and self.start is not None:
            raise ValueError(f"student {self.name!r}: sub-students begin afresh: leave out start or sub_students")
        if self.sub_students is not None and self.quantize is not None:
            raise ValueError(
                f"student {self.name!r} is to be quantized, and to be made of sub-students: it can be one or the other"
                "; leave out quantize or sub_students"
            )
        return self
