"""The cost of a training step relative to a bare torch loop, for a tiny network and for ResNet-20.

    OMP_NUM_THREADS=1 pytest benchmarks/bench_training.py

Both loops train in alternation on the same batches. The CPU time of the training thread counts, which other
processes disturb little; the ratio of the minima is the overhead of Fabric, the objective, the training accuracy
and the progress. The benchmark's own rows are whole trainings: set-up, validation and files included.
"""

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from kdbench import models
from kdbench.data.batches import Batch, Batches
from kdbench.data.dataset import Split
from kdbench.distill.objective import Objective
from kdbench.distill.training.fit import fit
from kdbench.progress import Silent
from kdbench.recipe import Training

BATCH = 64
# Model, options, input shape, steps per epoch, epochs, and the highest ratio of a step to one of the bare loop.
NETWORKS = {
    "tiny": ("convnet", {"widths": [16, 32, 32]}, (1, 8, 8), 20, 10, 1.10),
    "resnet20": ("resnet20", {}, (3, 32, 32), 6, 3, 1.03),
}


class TimedBatches(Batches):
    """Batches that note the CPU seconds of each iteration, from the first step to the end of the last."""

    def __init__(self, split: Split, *, train: bool) -> None:
        channels = split.inputs.shape[1]
        super().__init__(split, batch=BATCH, mean=(0.5,) * channels, std=(0.25,) * channels, train=train)
        self.seconds: list[float] = []

    def __iter__(self) -> Iterator[Batch]:
        began = time.thread_time()
        yield from super().__iter__()
        self.seconds.append(time.thread_time() - began)


def bare_loop(network: nn.Module, train: Batches, validation: Batches, epochs: int) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    for epoch in range(epochs):
        network.train()
        train.set_epoch(epoch)
        for batch in train:
            loss = F.cross_entropy(network(batch.inputs), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for batch in validation:
                F.cross_entropy(network(batch.inputs), batch.labels)


def kdbench_loop(network: nn.Module, train: Batches, validation: Batches, epochs: int, folder: Path) -> None:
    options = {"threads": 1, "device": "cpu", "precision": "32", "channels_last": False, "compile": False}
    optimizer = {"name": "sgd", "lr": 0.01}
    training = Training.model_validate({"epochs": epochs, "batch": BATCH, "optimizer": optimizer, **options})
    fit(network, Objective(), train, validation, training, seed=0, folder=folder, key="k", progress=Silent())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_costs_little_more_than_in_a_bare_loop(benchmark, tmp_path, name):
    model, options, shape, steps, epochs, highest = NETWORKS[name]
    torch.set_num_threads(1)
    samples, generator, folders = steps * BATCH, np.random.default_rng(0), count()
    images = generator.integers(0, 256, (samples, *shape), dtype=np.uint8)
    split = Split(images, generator.integers(0, 10, samples), np.arange(samples))
    validation = TimedBatches(split.subset(range(BATCH)), train=False)
    bare, kdbench = TimedBatches(split, train=True), TimedBatches(split, train=True)

    def build() -> nn.Module:
        torch.manual_seed(0)
        return models.build(model, shape, 10, **options)

    def train_bare() -> None:
        bare_loop(build(), bare, validation, epochs)

    def train_kdbench() -> None:
        kdbench_loop(build(), kdbench, validation, epochs, tmp_path / str(next(folders)))

    benchmark.pedantic(train_kdbench, setup=train_bare, rounds=12, warmup_rounds=1)
    ratio = min(kdbench.seconds) / min(bare.seconds)
    benchmark.extra_info.update(bare_step_s=min(bare.seconds) / steps, step_s=min(kdbench.seconds) / steps, ratio=ratio)
    assert ratio <= highest
