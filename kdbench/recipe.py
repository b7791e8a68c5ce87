"""Recipes: what to train, how to distil it and what to measure, as inert values.

Building one touches no environment, device or file; names of models, data sets and methods are resolved by the
stage that needs them. How a recipe is read, overridden and complained about is told in `kdbench.recipes`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from kdbench import storage
from kdbench.registry import suggestion

Precision = Literal["32", "bf16", "16"]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Augment(_Section):
    """Random changes of training images: zero-pad by `pad` and crop back, flip left-right with chance one half."""

    pad: int = Field(default=0, ge=0, le=32)
    flip: bool = False


class Data(_Section):
    """The data set and how it is cut. `validation` is the share taken off the training part, by class."""

    name: str
    root: str | None = None
    download: bool = False
    validation: float = Field(default=0.1, gt=0, lt=0.9)
    split_seed: int = 0
    resize: int | None = Field(default=None, gt=0)
    crop: int | None = Field(default=None, gt=0)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    augment: Augment = Augment()

    @model_validator(mode="after")
    def _usable_normalisation(self) -> Self:
        if self.std is not None and (not self.std or min(self.std) <= 0):
            raise ValueError("std: give one positive value per channel")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} values and std {len(self.std)}: give one per channel")
        return self


class Optimizer(_Section):
    """An optimiser by name; `momentum` and `nesterov` are for SGD, `betas` for the Adam family."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = Field(default=0.05, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)


class Schedule(_Section):
    """A learning-rate schedule by name, advanced at every step.

    `milestones` (for `step`) are epochs or, below one, shares of all epochs; `warmup` is in epochs.
    """

    name: Literal["constant", "cosine", "step", "onecycle"] = "cosine"
    warmup: float = Field(default=0.0, ge=0)
    milestones: tuple[float, ...] = (150, 180, 210)
    gamma: float = Field(default=0.1, gt=0, lt=1)


class Training(_Section):
    """How long and how to train.

    `patience` stops after that many epochs without a better validation accuracy; `keep` says which weights the
    model ends up with: those of the last epoch or of the best on the validation split (never the test set).
    """

    epochs: int = Field(default=10, gt=0)
    batch: int = Field(default=64, gt=0)
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    clip: float | None = Field(default=None, gt=0)
    patience: int | None = Field(default=None, gt=0)
    keep: Literal["best", "last"] = "best"
    precision: Precision = "32"
    channels_last: bool = False
    threads: int | None = Field(default=None, gt=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @model_validator(mode="after")
    def _milestones_are_reached(self) -> Self:
        if self.schedule.name == "step" and min(self.schedule.milestones, default=0) >= self.epochs:
            raise ValueError(
                f"schedule: no milestone of {self.schedule.milestones} lies within {self.epochs} epochs; "
                "a milestone below one is a share of all epochs, such as 0.6"
            )
        return self


class Model(BaseModel):
    """A model by its name in the register; every other key is an option of that model."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """The keys beside `name`, for the model's factory."""
        return dict(self.model_extra or {})


class Term(BaseModel):
    """One weighted term of a student's objective: a distillation method by name, other keys are its options."""

    model_config = ConfigDict(frozen=True, extra="allow")

    method: str

    @property
    def options(self) -> dict[str, Any]:
        """The keys beside `method`, for the method's own validation."""
        return dict(self.model_extra or {})


class _Trained(_Section):
    # No dots: they part the keys of an override.
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=80)
    model: Model
    training: Training = Training()

    @field_validator("model", mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Teacher(_Trained):
    """A model trained on the labels alone, to be learned from."""


class Student(_Trained):
    """A smaller model. Without terms it is trained on the labels alone: the independent student.

    `teacher` names the teacher it is compared with and learns from (default: the first); `ce_weight` weighs the
    cross-entropy with the labels (default: what is usual for the first term's method, or 1 without terms).
    """

    teacher: str | None = None
    ce_weight: float | None = Field(default=None, ge=0)
    terms: tuple[Term, ...] = ()


Mode = Literal["stream", "paced", "offline", "server"]
Runtime = Literal["onnxruntime", "torch", "torch-compiled"]
Count = Annotated[int, Field(ge=1)]
LEAST_PRECISION = 0.004  # no interval of a speed-up is narrower (kdbench.statistics.few_sessions.RESOLUTION)


class Measure(_Section):
    """What to measure, how exactly and for how long.

    Latency goes on in fresh processes, `sessions` at least, until every headline speed-up's interval is narrower than
    `precision` (a share of the speed-up) or `budget_s` is spent. `batch` are the batched runs beside batch 1; the
    largest is also that of the table's MACs column. `mode` is how calls follow each other: `stream` back to back,
    `paced` with `gap_ms` idle before each, `server` arriving at random at `rate_per_s`; `offline` looks for the
    largest throughput. `runtime` is what runs the models, `cores` where, in turns (default: see docs/recipes.md).
    `energy` is metered in windows of half a second (`quick`), or of ten seconds or a hundred updates of the meter
    (`full`); `estimate_energy` admits a labelled estimate where there is no meter, and with a `country` (ISO 3166,
    three letters) joules become CO₂e too.
    """

    provider: Literal["cpu", "cuda"] = "cpu"
    threads: tuple[Count, ...] = (1,)
    batch: tuple[Annotated[int, Field(gt=1)], ...] = (128,)
    mode: tuple[Mode, ...] = ("stream",)
    gap_ms: Count = 5
    rate_per_s: Count | None = None
    runtime: tuple[Runtime, ...] = ("onnxruntime",)
    cores: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    budget_s: float = Field(default=20.0, gt=0)
    precision: float = Field(default=0.05, ge=LEAST_PRECISION, lt=1)
    sessions: int = Field(default=8, ge=2)
    energy: Literal["off", "quick", "full"] = "quick"
    estimate_energy: bool = False
    country: str | None = None
    profile: bool = False

    @field_validator("threads", "batch", "mode", "runtime", "cores", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        """Take a single value for a list of one."""
        return value if value is None or isinstance(value, list | tuple) else (value,)

    @field_validator("threads", "batch", "mode", "runtime", "cores")
    @classmethod
    def _each_once(cls, value: tuple[object, ...] | None) -> tuple[object, ...] | None:
        if value is None:
            return None
        if not value:
            raise ValueError("name at least one")
        return tuple(dict.fromkeys(value))

    @model_validator(mode="after")
    def _energy_to_convert(self) -> Self:
        if self.country is not None and self.energy == "off":
            raise ValueError("country turns joules into CO₂e, and energy is off")
        return self

    @model_validator(mode="after")
    def _rate_of_a_server(self) -> Self:
        if "server" in self.mode and self.rate_per_s is None:
            raise ValueError("mode 'server' needs rate_per_s: how many calls arrive in a second")
        return self


class Recipe(_Section):
    """A whole study: one data set, teachers, students, and what is measured of them.

    `training` holds the defaults that a teacher's or student's own `training` table overrides key by key.
    With several `seeds` every model is trained once per seed; accuracies are then reported as their mean.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)
    title: str = ""
    seeds: tuple[Seed, ...] = (0,)
    data: Data
    training: Training = Training()
    teacher: tuple[Teacher, ...] = Field(min_length=1)
    student: tuple[Student, ...] = ()
    measure: Measure = Measure()

    @model_validator(mode="before")
    @classmethod
    def _inherit_training(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("training", {}), dict):
            return value
        value = dict(value)
        shared = value.get("training", {})
        for role in ("teacher", "student"):
            entries = value.get(role)
            if isinstance(entries, dict):
                entries = [entries]
            if isinstance(entries, list | tuple) and all(isinstance(entry, dict) for entry in entries):
                value[role] = [{**entry, "training": _merged(shared, entry.get("training", {}))} for entry in entries]
        return value

    @model_validator(mode="after")
    def _names_hold(self) -> Self:
        teachers = [teacher.name for teacher in self.teacher]
        names = [*teachers, *(student.name for student in self.student)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the name {twice[0]!r} is used twice")
        for student in self.student:
            if student.teacher is not None and student.teacher not in teachers:
                raise ValueError(
                    f"student {student.name!r} names the teacher {student.teacher!r}, which the recipe does not have; "
                    + suggestion(student.teacher, teachers, f"it has {', '.join(teachers)}")
                )
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: name at least one, each once")
        return self

    def teacher_of(self, student: Student) -> Teacher:
        """Return the teacher that `student` learns from and is compared with."""
        return next(t for t in self.teacher if student.teacher in {None, t.name})

    def resolved(self) -> dict[str, Any]:
        """Return the recipe as JSON values, every default written out."""
        return self.model_dump(mode="json")

    def hash(self) -> str:
        """Return the SHA-256 of the resolved recipe, the place of the data left out."""
        content = self.resolved()
        content["data"] = {key: value for key, value in content["data"].items() if key not in {"root", "download"}}
        return storage.content_hash(content)


def _merged(base: Any, over: Any) -> Any:
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    return {**base, **{key: _merged(base.get(key), value) for key, value in over.items()}}
