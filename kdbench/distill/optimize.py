"""Optimisers and learning-rate schedules by name."""

import bisect
import math
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn, optim

from kdbench.recipe import Optimizer, Schedule, Training

Factor = Callable[[float], float]


def build_optimizer(options: Optimizer, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
    """Return the optimiser that a recipe names, over `parameters`."""
    rates: dict[str, Any] = {"lr": options.lr, "weight_decay": options.weight_decay}
    if options.name == "sgd":
        nesterov = options.nesterov and options.momentum > 0
        return optim.SGD(parameters, momentum=options.momentum, nesterov=nesterov, **rates)
    adam: type[optim.Adam] = {"adam": optim.Adam, "adamw": optim.AdamW}[options.name]
    return adam(parameters, betas=options.betas, **rates)


def learning_rate_factor(training: Training) -> Factor:
    """Return the factor on the learning rate as a function of the time in epochs, fractions included.

    During `warmup` epochs the factor also rises linearly from zero.
    """
    shape, warmup = _shape(training.schedule, training.epochs), training.schedule.warmup
    return (lambda epoch: shape(epoch) * min(1.0, (epoch + 1e-3) / warmup)) if warmup else shape


def _shape(schedule: Schedule, epochs: int) -> Factor:
    match schedule.name:
        case "cosine":  # half a cosine from 1 to 0 (Loshchilov, Hutter 2017, without restarts)
            return lambda epoch: 0.5 * (1 + math.cos(math.pi * min(epoch / epochs, 1.0)))
        case "step":  # times `gamma` at every milestone; a milestone below one is a share of all epochs
            milestones = sorted(m * epochs if m < 1 else m for m in schedule.milestones)
            return lambda epoch: schedule.gamma ** bisect.bisect_right(milestones, epoch)
        case "onecycle":  # linearly up from 1/25 over the first 30 % of the training, then down to 0 (Smith 2018)
            peak, fall = 0.3 * epochs, epochs - 0.3 * epochs
            return lambda epoch: 0.04 + 0.96 * epoch / peak if epoch < peak else max((epochs - epoch) / fall, 0.0)
        case "constant":
            return lambda _epoch: 1.0
