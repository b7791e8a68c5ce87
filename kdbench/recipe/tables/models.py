"""The `[[teacher]]` and `[[student]]` tables: the network, its teachers and methods, and its initial weights."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, field_validator, model_validator

from kdbench import units
from kdbench.recipe.tables.data import Examples
from kdbench.recipe.tables.named import WithOptions
from kdbench.recipe.tables.training import MAX_COUNT, ModelTraining, Training
from kdbench.results.preprocessing import InputSpec
from kdbench.user_input.validation import NAME, Value, WrongValueError, added_later

ONNX = ".onnx"


class Model(WithOptions):
    """A model by its registered name; every other key is an option of that model."""

    name: str


class Term(WithOptions):
    """One weighted term of a student's objective: a distillation method by name, other keys are its options.

    It applies from `from_epoch` (0 is the first) until before `until_epoch`; values below one are shares of all epochs.
    While a term with `alone` applies, it is the entire objective, without labels and other terms, as in the first of
    two stages.
    """

    method: str
    from_epoch: float = Field(default=0, ge=0, le=MAX_COUNT)
    until_epoch: float | None = Field(default=None, gt=0, le=MAX_COUNT)
    alone: bool = False


class Start(Value):
    """Initial weights: (1 − `share`) of a fresh initialisation plus `share` of another model's, of the same shape.

    `model` names that model (default: the first teacher). With `batch_norm` "re-estimate" the running statistics are
    computed again from the training images, because mixed statistics fit neither model.
    """

    model: str | None = None
    share: float = Field(ge=0, le=1)
    batch_norm: Literal["re-estimate", "mix"] = "re-estimate"


class Quantize(Value):
    """Train with fake quantization: weights per output channel and symmetric, activations per tensor.

    `first_last_bits` applies to weights and activations of the first and the last layer.
    """

    weight_bits: int = Field(default=8, ge=2, le=8)
    activation_bits: int = Field(default=8, ge=2, le=8)
    first_last_bits: int = Field(default=8, ge=2, le=8)


def _latency(value: Any) -> float | str:
    """Return a share of a time, above 0 and below 1, or a text that is a time."""
    hint = 'give a share of the source\'s time, such as 0.5, or a time, such as "2 ms"'
    if isinstance(value, str):
        if value.strip()[-1:].isdecimal():
            raise WrongValueError(f"{value!r} is a time without a unit", hint)
        try:
            time_ns = units.parse(value, "ns")
        except ValueError as error:
            raise WrongValueError(str(error), hint) from None
        if time_ns <= 0:
            raise WrongValueError(f"{value!r} is not a time above zero", hint)
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise WrongValueError(f"{value!r} is not a share above 0 and below 1", hint)
    return float(value)


class Prune(Value):
    """Start from another model with a part of its channels removed, and train further.

    `of` names that model (default: the first teacher). Channels are removed until at most the share `macs` of its
    multiply-accumulates remains, or until a call of the exported file takes at most `latency`: a share of the source's
    time, or a time such as "2 ms", on the machine that trains. The removed channels are those of least magnitude over
    all layers ("global"), or the same share of every layer ("layer"). The number of remaining channels is a multiple of
    `round_to`, because kernels are then faster.
    """

    of: str | None = None
    macs: float | None = Field(default=None, gt=0, lt=1)
    latency: Annotated[float | str, PlainValidator(_latency)] | None = added_later(None)
    scope: Literal["global", "layer"] = "global"
    round_to: int = Field(default=8, ge=1, le=1024)

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        if (self.macs is None) == (self.latency is None):
            goals = "neither macs nor latency" if self.macs is None else "both macs and latency"
            raise WrongValueError(f"{goals} is given", 'write one of them: macs = 0.5, latency = 0.5, latency = "2 ms"')
        return self

    @property
    def latency_share(self) -> float | None:
        """The share of the source's time that a call may take, where that is the goal."""
        return self.latency if isinstance(self.latency, float) else None

    @property
    def latency_ns(self) -> float | None:
        """The time that a call may take, where that is the goal."""
        return units.parse(self.latency, "ns") if isinstance(self.latency, str) else None


class SubStudents(Value):
    """A student made of `count` networks, trained separately, with a linear head on their concatenated outputs.

    Each part has `features` outputs. `head` overrides the student's `training` for the fused network; `tune` says what
    is trained: the "head" or "all" layers.
    """

    count: int = Field(default=4, gt=1, le=64)
    features: int = Field(default=128, gt=0, le=65_536)
    tune: Literal["head", "all"] = "head"
    head: ModelTraining = Training()


class Trained(Value):
    """The keys of teachers and students.

    `weights` is a file of weights to start from, .safetensors or a torch state dict; `weights_key` names one of several
    sets of weights in it. With `training.epochs` 0 the model is used without training. A `seed_offset` other than 0
    makes another seed of each seed of the recipe: models of one architecture start with the same weights unless their
    offsets differ. `family` and `axes` name the sweep, and the point of the sweep, that the entry comes from.
    """

    name: str = Field(pattern=NAME, max_length=80)
    model: Model
    weights: str | None = added_later(None)
    weights_key: str | None = added_later(None, min_length=1)
    training: ModelTraining = Training()
    data: Examples = Examples()
    seed_offset: int = Field(default=0, ge=0, lt=2**32)
    family: str | None = None
    axes: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @field_validator("model", mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _epochs_or_weights(self) -> Self:
        if self.training.epochs == 0 and not self.is_ready:
            message = f"{self.name!r}: training.epochs must be greater than 0 if no file of weights is named"
            raise ValueError(f'{message}; write weights = "FILE", or train it for an epoch or more')
        if self.weights_key is not None and (self.weights is None or is_onnx(self.weights)):
            raise ValueError(f"{self.name!r}: weights_key applies only to files that torch saved; leave it out")
        return self

    @property
    def is_ready(self) -> bool:
        """Whether it is used without training."""
        return self.training.epochs == 0 and (self.weights is not None or getattr(self, "logits", None) is not None)


class TeacherInput(InputSpec):
    """What is known of a pretrained teacher's input; `labels` may also be a file of one name a line."""

    labels: tuple[str, ...] | str | None = None  # type: ignore[assignment]  # a recipe reads no files


class Teacher(Trained):
    """A model from which students learn: trained on the labels, or ready.

    A teacher with `weights` is not trained unless its own `training` table sets `epochs`. Its file may also be an ONNX
    file, without a `model`; students then learn from its logits. `input` describes a pretrained teacher's input and
    classes if they differ from the data's. `logits` is a NumPy file of logits instead of a model; such a teacher is not
    measured.
    """

    input: TeacherInput | None = added_later(None)
    logits: str | None = added_later(None)

    @model_validator(mode="before")
    @classmethod
    def _file_in_place_of_model(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for key, is_exclusive, model, reason in (
            ("weights", is_onnx(value.get("weights")), _ONNX_MODEL, "an ONNX file holds the whole network"),
            ("logits", value.get("logits") is not None, _LOGITS_MODEL, "a teacher with logits needs no network"),
        ):
            if is_exclusive and value.get("model") not in (None, model):
                raise ValueError(f"{key} = {value[key]!r} and model: {reason}; leave model out")
            if is_exclusive:
                return {**value, "model": model}
        return value

    @model_validator(mode="after")
    def _ready_or_trained(self) -> Self:
        if self.logits is not None and (self.weights is not None or self.input is not None):
            raise ValueError(f"teacher {self.name!r} has logits: leave weights and input out")
        if (is_onnx(self.weights) or self.logits is not None) and self.training.epochs > 0:
            what = "an ONNX file" if self.logits is None else "a file of logits"
            message = f"teacher {self.name!r}: {what} cannot be trained; leave out its training.epochs"
            raise ValueError(f"{message}, or give its model and a file of weights")
        if self.input is not None and not self.is_ready:
            message = f"teacher {self.name!r} has an input table, which applies only to pretrained teachers"
            raise ValueError(f"{message}: name its weights, and leave out its training.epochs")
        return self


def is_onnx(weights: object) -> bool:
    """Return whether a file of weights is a whole ONNX model, by its name."""
    return isinstance(weights, str) and weights.endswith(ONNX)


# The model of teachers without a torch network.
_ONNX_MODEL, _LOGITS_MODEL = {"name": "onnx"}, {"name": "logits"}


class Student(Trained):
    """A smaller model. Without terms it is trained on the labels only: the independent student.

    `teacher` names the teachers or students it learns from (default: the first teacher); it is compared with the first
    of them. `ce_weight` is the weight of the cross-entropy with the labels (default: the usual one of the first term's
    method, or 1 without terms). `cache` says whether the teacher's logits are computed once and stored: `auto` (if that
    is exact and saves work), `on` (an error if it is not possible) or `off`. With `prune` its `model` is that of the
    network that it is pruned from.
    """

    teacher: tuple[str, ...] = ()
    ce_weight: float | None = Field(default=None, ge=0, le=1e9)
    terms: tuple[Term, ...] = ()
    cache: Literal["auto", "on", "off"] = "auto"
    start: Start | None = None
    quantize: Quantize | None = None
    sub_students: SubStudents | None = None
    prune: Prune | None = added_later(None)

    @field_validator("teacher", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return () if value is None else (value,) if isinstance(value, str) else value

    @field_validator("terms", mode="before")
    @classmethod
    def _one_term(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _compatible(self) -> Self:
        if len(set(self.teacher)) < len(self.teacher):
            raise ValueError(f"student {self.name!r} names a teacher twice: {', '.join(self.teacher)}")
        if self.sub_students is not None and self.start is not None:
            message = "sub-students start from fresh weights: leave out start or sub_students"
            raise ValueError(f"student {self.name!r}: {message}")
        if self.sub_students is not None and self.quantize is not None:
            message = "quantize and sub_students, which cannot be combined: leave out one of them"
            raise ValueError(f"student {self.name!r} has {message}")
        if self.quantize is not None and self.training.freeze:
            message = (
                "quantize and training.freeze: a frozen layer learns no range of its inputs; leave out one of them"
            )
            raise ValueError(f"student {self.name!r} has {message}")
        for key in ("weights", "start", "sub_students") if self.prune is not None else ():
            if getattr(self, key) is not None:
                message = f"prune and {key}: its weights come from the model that is pruned; leave out one of them"
                raise ValueError(f"student {self.name!r} has {message}")
        self._check_weights()
        return self

    def _check_weights(self) -> None:
        if self.sub_students is not None and self.sub_students.head.epochs == 0:
            raise ValueError(f"student {self.name!r}: sub_students.head.epochs is 0: its head would remain untrained")
        if self.weights is None:
            return
        if is_onnx(self.weights):
            raise ValueError(
                f"student {self.name!r}: an ONNX file cannot be trained; name .safetensors or .pth weights"
            )
        for key, value in (("start", self.start), ("sub_students", self.sub_students)):
            if value is not None:
                raise ValueError(f"student {self.name!r} starts from weights and has {key}: leave out one of them")
        if self.is_ready and (self.terms or self.quantize is not None):
            key = "terms" if self.terms else "quantize"
            raise ValueError(f"student {self.name!r} has {key} and training.epochs 0: it needs epochs to train")
