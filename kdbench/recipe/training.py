"""The `training` tables: duration, optimiser, schedule, precision and device."""

from typing import Literal, Self

from pydantic import Field, model_validator

from kdbench.validation import Value

Precision = Literal["32", "bf16", "16"]
Auto = Literal["auto"]


class Optimizer(Value):
    """An optimiser by name; `momentum` and `nesterov` are for SGD, `betas` for the Adam family."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = Field(default=0.05, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)


class Schedule(Value):
    """A learning-rate schedule by name, advanced at every step.

    `milestones` (for `step`) are epochs or, below one, shares of all epochs; `warmup` is in epochs.
    """

    name: Literal["constant", "cosine", "step", "onecycle"] = "cosine"
    warmup: float = Field(default=0.0, ge=0)
    milestones: tuple[float, ...] = (150, 180, 210)
    gamma: float = Field(default=0.1, gt=0, lt=1)


class Training(Value):
    """How long and how to train.

    `stop_at` ends the training after that epoch (below one: that share of all epochs) with the schedule of all
    `epochs`: an early-stopped model. `patience` stops after that many epochs without a better validation accuracy;
    `keep` selects the final weights: of the last epoch, or of the best on the validation split (never the test set).
    `precision`, `channels_last` and `compile` may be `auto` (see kdbench.distill.devices); `devices`, `num_nodes` and
    `strategy` are Lightning's, and `batch` is the number of images per step on all devices together.
    """

    epochs: int = Field(default=10, gt=0)
    batch: int = Field(default=64, gt=0)
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    clip: float | None = Field(default=None, gt=0)
    stop_at: float | None = Field(default=None, gt=0)
    patience: int | None = Field(default=None, gt=0)
    keep: Literal["best", "last"] = "best"
    precision: Precision | Auto = "auto"
    channels_last: bool | Auto = "auto"
    compile: bool | Auto = "auto"
    threads: int | None = Field(default=None, gt=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int | Auto = 1
    num_nodes: int = Field(default=1, gt=0)
    strategy: str = "auto"

    @property
    def last_epoch(self) -> int:
        """The epoch, from 1, after which the training ends unless patience ends it earlier."""
        return self.epochs if self.stop_at is None else min(self.epoch_at(self.stop_at), self.epochs)

    def epoch_at(self, time: float) -> int:
        """Return `time`, a number of epochs or below one a share of all epochs, as a number of epochs."""
        return max(1, round(time * self.epochs)) if 0 < time < 1 else round(time)

    @model_validator(mode="after")
    def _milestones_within_epochs(self) -> Self:
        if self.schedule.name == "step" and min(self.schedule.milestones, default=0) >= self.epochs:
            message = f"schedule: no milestone of {self.schedule.milestones} lies within {self.epochs} epochs"
            raise ValueError(f"{message}; a milestone below one is a share of all epochs, such as 0.6")
        return self
