"""Optimisers by name, their groups of parameters, and learning-rate schedules by name."""

import bisect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn, optim

from kdbench.distill.module_paths import longest_match, names_of, require_paths
from kdbench.recipe import Optimizer, Schedule, Training

Factor = Callable[[float], float]

_NORMS = (
    nn.modules.batchnorm._NormBase,  # noqa: SLF001 - batch and instance norm of every rank, also synchronised
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


@dataclass(frozen=True, eq=False)
class ParameterGroup:
    """Parameters with one factor on the learning rate; `decays` says whether weight decay applies to them."""

    factor: float
    decays: bool
    parameters: list[nn.Parameter] = field(default_factory=list)


def parameter_groups(options: Optimizer, network: nn.Module, others: Iterable[nn.Module] = ()) -> list[ParameterGroup]:
    """Return the trainable parameters of `network` and of `others`, such as a method's regressor, in groups.

    The paths in `options.layers` are `network`'s; the others have factor 1. A parameter that two of them hold, such as
    a layer of the network in a method, is the first one's. Raises InputError for a path that matches nothing.
    """
    require_paths(network, options.layers, "training.optimizer.layers")
    groups: dict[tuple[float, bool], ParameterGroup] = {}
    seen = set[nn.Parameter]()
    for root in (network, *others):
        without_decay = set() if options.decay_norm_and_bias else _norms_and_biases(root)
        for parameter, names in names_of(root).items():
            if parameter.requires_grad and parameter not in seen:  # twice in an optimiser, each step would be two
                seen.add(parameter)
                pattern = longest_match(names, options.layers) if root is network else None
                key = (1.0 if pattern is None else options.layers[pattern], parameter not in without_decay)
                groups.setdefault(key, ParameterGroup(*key)).parameters.append(parameter)
    return list(groups.values())


def _norms_and_biases(root: nn.Module) -> set[nn.Parameter]:
    """Return the parameters without weight decay: all vectors and scalars, as in timm, and those of norm layers.

    A layer norm over several axes has weights that are not vectors.
    """
    norms = (module for module in root.modules() if isinstance(module, _NORMS))
    vectors = {parameter for parameter in root.parameters() if parameter.dim() <= 1}
    return vectors | {parameter for norm in norms for parameter in norm.parameters(recurse=False)}


def build_optimizer(options: Optimizer, groups: Sequence[ParameterGroup]) -> optim.Optimizer:
    """Return the optimiser that a recipe names, over `groups`."""
    decays = (options.weight_decay if group.decays else 0.0 for group in groups)
    tables: list[dict[str, Any]] = [
        {"params": group.parameters, "lr": options.lr * group.factor, "weight_decay": decay}
        for group, decay in zip(groups, decays, strict=True)
    ]
    if options.name == "sgd":
        nesterov = options.nesterov and options.momentum > 0
        return optim.SGD(tables, lr=options.lr, momentum=options.momentum, nesterov=nesterov)
    adam: type[optim.Adam] = {"adam": optim.Adam, "adamw": optim.AdamW}[options.name]
    return adam(tables, lr=options.lr, betas=options.betas)


def learning_rate_factor(training: Training) -> Factor:
    """Return the factor on the learning rate as a function of the time in epochs, fractions included.

    During `warmup` epochs the factor is also multiplied by the time over `warmup`: it rises linearly from almost zero,
    0.001 epochs, so that the first update is one.
    `plateau` depends on more than the time (`plateau_factor`); its shape here is constant.
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
        case "constant" | "plateau":
            return lambda _epoch: 1.0


def plateau_factor(schedule: Schedule, values: Sequence[float]) -> float:
    """Return the factor on the learning rate after epochs with these validation values, in order.

    That of torch's `ReduceLROnPlateau` with a relative threshold: a loss improves below (1 - threshold) · best, an
    accuracy above (1 + threshold) · best. A function of the values, so that a resumed training needs no other state.
    """
    is_loss = schedule.monitor == "loss"
    best, bad_epochs, factor = math.inf if is_loss else -math.inf, 0, 1.0
    for value in values:
        if value < best * (1 - schedule.threshold) if is_loss else value > best * (1 + schedule.threshold):
            best, bad_epochs = value, 0
        else:
            bad_epochs += 1
        if bad_epochs > schedule.patience:
            factor, bad_epochs = factor * schedule.factor, 0
    return factor
