"""The `training` tables: duration, optimiser, schedule, average of the weights, precision and device.

Unused keys that are declared with `added_later` are not part of any hash, so that earlier trainings stay valid.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from kdbench.user_input.validation import Value, WrongValueError, added_later

MAX_COUNT = 1_000_000  # epochs, samples of a batch, batches of an update
MAX_THREADS = 4096

Precision = Literal["32", "bf16", "16"]
Auto = Literal["auto"]
Factor = Annotated[float, Field(gt=0, le=1e6)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class Optimizer(Value):
    """An optimiser by name; `momentum` and `nesterov` are for SGD, `betas` for the Adam family.

    `layers` are factors on the learning rate by module path or glob; the longest that matches counts. Without
    `decay_norm_and_bias` biases, the parameters of normalisation layers and other vectors have no weight decay.
    """

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = Field(default=0.05, gt=0, le=1e6)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0, le=1e6)
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    layers: Mapping[str, Factor] = added_later({})
    decay_norm_and_bias: bool = added_later(default=True)

    @field_validator("layers", mode="before")
    @classmethod
    def _dotted(cls, value: Any) -> Any:
        # In TOML, `layers.blocks.0 = 0.1` is a table in a table.
        return dict(_flattened(value)) if isinstance(value, Mapping) else value


def _flattened(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


class Schedule(Value):
    """A learning-rate schedule by name, advanced at every update of the weights.

    `milestones` (for `step`) are epochs or, below one, shares of all epochs; `warmup` is in epochs. `plateau`
    multiplies the rate by `factor` after more than `patience` epochs in which the validation value named by `monitor`
    did not improve by the share `threshold`.
    """

    name: Literal["constant", "cosine", "step", "onecycle", "plateau"] = "cosine"
    warmup: float = Field(default=0.0, ge=0, le=MAX_COUNT)
    milestones: tuple[Annotated[float, Field(ge=0, le=MAX_COUNT)], ...] = (150, 180, 210)
    gamma: float = Field(default=0.1, gt=0, lt=1)
    factor: float = added_later(0.1, gt=0, lt=1)
    patience: int = added_later(10, ge=0, le=MAX_COUNT)
    threshold: float = added_later(1e-4, ge=0, lt=1)
    monitor: Literal["loss", "accuracy"] = added_later("loss")


class Average(Value):
    """An exponential moving average of the weights with this `decay` per update.

    With `warmup` the decay after n updates is at most (1 + n) / (10 + n), so that the average leaves the initial
    weights soon.
    """

    decay: float = Field(gt=0, lt=1)
    warmup: bool = True


class Training(Value):
    """How long and how to train.

    `epochs` may be 0 for a model with `weights`: it is used without training. `stop_at` ends the training after that
    epoch (below one: that share of all epochs) with the schedule of all `epochs`: an early-stopped model. `patience`
    stops after that many epochs without a better validation accuracy, counted from the beginning of the last term at
    the earliest; `keep` selects the final weights: of the last epoch, or of the best on the validation split (never the
    test set). `accumulate` batches make one update of the weights. `class_weights`, one per class, weigh the
    cross-entropy with the labels; "balanced" ones are n / (C · n_c), for n training samples, n_c of them of the class,
    and C classes. With `ema` the moving average of the weights is validated and kept. `freeze` names modules, by path
    or glob, whose weights do not change. `precision`, `channels_last` and `compile` may be `auto` (see
    kdbench.distill.training.devices); `devices`, `num_nodes` and `strategy` are Lightning's, and `batch` is the number
    of images per step on all devices together.
    """

    epochs: int = Field(default=10, ge=0, le=MAX_COUNT)
    batch: int = Field(default=64, gt=0, le=MAX_COUNT)
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: Literal["balanced"] | tuple[Factor, ...] | None = added_later(None)
    clip: float | None = Field(default=None, gt=0)
    stop_at: float | None = Field(default=None, gt=0, le=MAX_COUNT)
    patience: int | None = Field(default=None, gt=0, le=MAX_COUNT)
    keep: Literal["best", "last"] = "best"
    precision: Precision | Auto = "auto"
    channels_last: bool | Auto = "auto"
    compile: bool | Auto = "auto"
    threads: int | None = Field(default=None, gt=0, le=MAX_THREADS)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: Annotated[int, Field(ge=-1, le=1024)] | Auto = 1
    num_nodes: int = Field(default=1, gt=0, le=4096)
    strategy: str = "auto"
    accumulate: int = added_later(1, gt=0, le=MAX_COUNT)
    ema: Average | None = added_later(None)
    freeze: tuple[str, ...] = added_later(())

    @field_validator("ema", mode="before")
    @classmethod
    def _from_decay(cls, value: Any) -> Any:
        return {"decay": value} if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("freeze", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @property
    def last_epoch(self) -> int:
        """The epoch, from 1, after which the training ends unless patience ends it earlier."""
        return self.epochs if self.stop_at is None else min(self.epoch_at(self.stop_at), self.epochs)

    def epoch_at(self, time: float) -> int:
        """Return `time`, a number of epochs or below one a share of all epochs, as a number of epochs."""
        return max(1, round(time * self.epochs)) if 0 < time < 1 else round(time)


def _require_times_within_epochs(training: Training) -> Training:
    epochs, stop_at, schedule = training.epochs, training.stop_at, training.schedule
    if not epochs:
        return training
    if schedule.name == "step" and min(schedule.milestones, default=0) >= epochs:
        message = f"schedule: no milestone of {schedule.milestones} lies within {epochs} epochs"
        raise ValueError(f"{message}; a milestone below one is a share of all epochs, such as 0.6")
    if stop_at is not None and training.epoch_at(stop_at) > epochs:
        hint = "give a smaller stop_at, a share of all epochs such as 0.5, or more epochs; or leave stop_at out"
        raise WrongValueError(f"stop_at = {stop_at:g} lies after the last of {epochs} epochs", hint)
    return training


ModelTraining = Annotated[Training, AfterValidator(_require_times_within_epochs)]
"""The training of a model. A recipe's own table has only defaults, whose epochs a model may replace."""
