"""Trainings of many kinds, small enough to be repeated, in this process and in others."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from distill.networks import batches, context, stripes, tiny
from distill.students import objective_of, student
from torch import Tensor, nn

from kdbench.data.batches import Batches
from kdbench.data.dataset import Split
from kdbench.distill.objective import Objective, student_objective, student_terms
from kdbench.distill.teaching.teachers import CachedTeacher
from kdbench.distill.training import fit
from kdbench.progress import Silent
from kdbench.recipe import Augment, Training
from kdbench.results import cards

# Six batches of 16 and one of 5.
TRAIN, VALIDATION = stripes(101), stripes(45, seed=1)
# Whole batches alone: a network is compiled again for each other number of images.
WHOLE_BATCHES = stripes(96), stripes(32, seed=1)
CROPS = {"pad": 2, "flip": True}


class Plain(nn.Module):
    """Two stages and a head without batch norm, whose statistics are each process's own."""

    stages = ("first", "second")

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Linear(2 * width, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.second(self.first(images)).mean(dim=(2, 3)))


def plain(seed: int = 0, **options) -> Plain:
    torch.manual_seed(seed)
    return Plain(**options)


@dataclass(frozen=True)
class Case:
    """A network, its loss, how it is trained and in which views."""

    network: nn.Module
    objective: Objective
    training: dict[str, Any] = field(default_factory=dict)
    augment: dict[str, Any] = field(default_factory=dict)
    data: tuple[Split, Split] = (TRAIN, VALIDATION)

    @property
    def shuffled(self) -> Batches:
        channels_last = bool(self.training.get("channels_last"))
        return _shuffled(self.augment, channels_last, self.data[0])


def _shuffled(augment, channels_last=False, split=TRAIN) -> Batches:
    return batches(split, 16, train=True, seed=5, augment=Augment(**augment), classes=3, channels_last=channels_last)


def labels_alone() -> Case:
    options = {"label_smoothing": 0.1, "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}}
    return Case(tiny(dropout=0.3), Objective(label_smoothing=0.1), options, CROPS)


def cached_bank() -> Case:
    augment = {**CROPS, "views": 3}
    teacher, shown = tiny(1, width=8).eval(), _shuffled(augment)
    with torch.inference_mode():
        table = torch.stack([torch.cat([teacher(b.inputs) for b in shown.in_slot(slot, 50)]) for slot in range(3)], 1)
    entry = student({"method": "kd"})
    network = tiny(dropout=0.3)
    terms = student_terms(entry, context(network, teacher))
    objective = student_objective(entry, terms, [CachedTeacher(table.clone().half())])
    return Case(network, objective, {"schedule": {"name": "onecycle"}, "keep": "last"}, augment)


def mixtures() -> Case:
    network, teacher = tiny(), tiny(1, width=8)
    entry = student({"method": "function_matching"})
    options = {"clip": 1.0, "schedule": {"name": "cosine", "warmup": 1.5}}
    return Case(network, objective_of(entry, network, teacher), options, {**CROPS, "mixup": 1.0, "cutmix": 1.0})


def memories() -> Case:
    network, teacher = tiny(dropout=0.3), tiny(1, width=8)
    entry = student({"method": "contrastive", "negatives": 16, "feature_dim": 8}, {"method": "attention"})
    objective = objective_of(entry, network, teacher, labels=torch.from_numpy(TRAIN.labels))
    return Case(network, objective, {"keep": "last"}, {"flip": True})


def peers() -> Case:
    network = tiny(dropout=0.3)
    return Case(network, objective_of(student({"method": "mutual", "peers": 2}), network), {"keep": "last"})


def two_stages() -> Case:
    network, teacher = tiny(dropout=0.3), tiny(1, width=8)
    entry = student(
        {"method": "hint", "until_epoch": 2, "alone": True}, {"method": "kd", "from_epoch": 2}, ce_weight=0.5
    )
    options = {"keep": "last", "schedule": {"name": "step", "milestones": [2], "gamma": 0.1}}
    return Case(network, objective_of(entry, network, teacher), options, CROPS)


def out_of_patience() -> Case:
    options = {"epochs": 30, "patience": 2, "optimizer": {"name": "sgd", "lr": 0.3}}
    return Case(tiny(dropout=0.3), Objective(), options)


def half_precision() -> Case:
    return Case(tiny(dropout=0.3), Objective(), {"precision": "bf16", "channels_last": True, "keep": "last"}, CROPS)


def refined() -> Case:
    """Accumulated gradients, averaged weights, a plateau, frozen layers and rates by layer."""
    optimizer = {"name": "adamw", "lr": 0.02, "weight_decay": 0.1, "layers": {"head": 2.0}}
    schedule = {"name": "plateau", "patience": 0, "factor": 0.5, "threshold": 0.3}
    options = {"accumulate": 3, "ema": 0.9, "freeze": ["first.0"], "clip": 0.5, "keep": "last"}
    optimizer["decay_norm_and_bias"] = False
    return Case(tiny(dropout=0.3), Objective(), {**options, "optimizer": optimizer, "schedule": schedule}, CROPS)


def averaged_in_half_precision() -> Case:
    options = {"precision": "bf16", "channels_last": True, "accumulate": 2, "ema": 0.95}
    return Case(tiny(dropout=0.3), Objective(), options, CROPS)


def compiled() -> Case:
    """A network of few kernels, each of which costs seconds of a C++ compiler."""
    torch.manual_seed(0)
    first = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    network = nn.Sequential(*first, nn.Dropout(0.3), nn.Linear(4, 3))
    return Case(network, Objective(), {"compile": True, "keep": "last"}, CROPS, WHOLE_BATCHES)


def plain_labels() -> Case:
    return Case(plain(), Objective(), {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}}, CROPS)


def plain_mixtures() -> Case:
    network, teacher = plain(), plain(1, width=8)
    objective = objective_of(student({"method": "function_matching"}), network, teacher)
    return Case(network, objective, {"clip": 0.5}, {**CROPS, "mixup": 1.0})


def plain_accumulated() -> Case:
    schedule = {"name": "plateau", "patience": 0, "factor": 0.5, "threshold": 0.05}
    options = {"accumulate": 3, "ema": 0.9, "clip": 0.5, "freeze": "second", "schedule": schedule}
    return Case(plain(), Objective(), {**options, "optimizer": {"name": "sgd", "lr": 0.2, "momentum": 0.9}}, CROPS)


def plain_stages() -> Case:
    """The last layers have no gradient in the first epochs, nor has the method's own part in the others."""
    network, teacher = plain(), plain(1, width=8)
    entry = student(
        {"method": "attention", "until_epoch": 2, "alone": True}, {"method": "kd", "from_epoch": 2}, ce_weight=0.5
    )
    return Case(network, objective_of(entry, network, teacher), {"keep": "last"})


def train(
    make: Callable[[], Case], folder: Path, *, hook: Callable[..., None] | None = None, **changes: Any
) -> tuple[dict[str, Tensor], cards.Training]:
    """Train a case and return the weights and the summary; `hook` is called before every forward pass."""
    case = make()
    if hook is not None:
        # Not compiled: code that depends on what the hook counts would be generated anew for every call.
        case.network.register_forward_pre_hook(torch.compiler.disable(hook))
    options = Training.model_validate(
        {
            "epochs": 4,
            "batch": 16,
            "optimizer": {"name": "adam", "lr": 0.01},
            "device": "cpu",
            "threads": 1,
            **case.training,
            **changes,
        }
    )
    summary = fit.fit(
        case.network,
        case.objective,
        case.shuffled,
        batches(case.data[1], 32, channels_last=bool(options.channels_last)),
        options,
        seed=5,
        folder=folder,
        key="k",
        progress=Silent(),
    )
    return case.network.state_dict(), summary
