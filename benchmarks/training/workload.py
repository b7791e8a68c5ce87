"""What every contestant does: the pair of networks, the batch, the loss, the data, the cores."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from kdbench import data, models
from kdbench.data.batches import Batches
from kdbench.data.dataset import Dataset
from kdbench.files import storage

DATASET = "cifar100"
PAIRS = {"resnet56-resnet20": ("resnet56", "resnet20"), "vgg16_bn-vgg11_bn": ("vgg16_bn", "vgg11_bn")}
PAD = 4  # of the random crop; flipped too

# The loss of the CIFAR tables, and an optimiser whose rate no untrained network minds.
TEMPERATURE = 4.0
CE_WEIGHT, KD_WEIGHT = 0.1, 0.9
OPTIMIZER = {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}

_SETTLING = 20  # batches that a teacher's running statistics are taken from


@dataclass(frozen=True)
class Workload:
    """One pair, and how it is trained and timed: `steps` steps are counted after `warmup` others.

    `workers` are the loader processes of those who load with torch's DataLoader; all of a contestant's processes and
    `threads` share as many cores as there are threads.
    """

    teacher: str
    student: str
    batch: int = 64
    threads: int = 2
    workers: int = 0
    warmup: int = 10
    steps: int = 30

    def to_json(self) -> dict[str, Any]:
        """Return the workload as JSON values."""
        return asdict(self)

    def with_workers(self, workers: int) -> Self:
        """Return the same with another number of loader processes."""
        return replace(self, workers=workers)

    @property
    def images(self) -> int:
        """How many images an epoch needs so that the step after the last counted one is asked for."""
        return (self.warmup + self.steps + 1) * self.batch


def student(workload: Workload, dataset: Dataset) -> nn.Module:
    """Return the student with fresh weights."""
    return _fresh(workload.student, dataset)


def teacher(workload: Workload, dataset: Dataset, folder: Path) -> nn.Module:
    """Return the teacher, frozen and in evaluation mode; its weights are kept in `folder`.

    They are not trained: an arithmetic unit does not mind. Its running statistics are those of real images, without
    which logits would not be of the usual size.
    """
    network = _fresh(workload.teacher, dataset)
    path = weights_of(workload, folder)
    if path.exists():
        network.load_state_dict(load_file(path))
    else:
        _settle(network, dataset, workload.batch)
        storage.make_folder(folder)
        with storage.replacing(path) as temporary:
            save_file(network.state_dict(), temporary)
    return network.eval().requires_grad_(requires_grad=False)


def weights_of(workload: Workload, folder: Path) -> Path:
    """Return where the teacher's weights are kept."""
    return folder / f"{workload.teacher}.safetensors"


def load() -> Dataset:
    """Return the data set; raises DataMissingError where KDBENCH_DATA does not lead to it."""
    return data.load(DATASET)


def _fresh(name: str, dataset: Dataset) -> nn.Module:
    torch.manual_seed(0)
    return models.build(name, dataset.input_shape, dataset.classes)


def _settle(network: nn.Module, dataset: Dataset, batch: int) -> None:
    assert dataset.train is not None, "the training part is loaded unless another is asked for"
    some = dataset.train.subset(range(_SETTLING * batch))
    with torch.no_grad():
        for chunk in Batches(some, batch=batch, mean=dataset.mean, std=dataset.std, train=False):
            network.train()(chunk.inputs)
