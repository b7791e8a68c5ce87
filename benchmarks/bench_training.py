"""What the training loop costs over a bare torch loop: the same steps on the same batches, side by side.

    pytest benchmarks/bench_training.py --benchmark-group-by=group

Compare the two rows of a group: their ratio is the overhead of Lightning and of kdbench's objective.
"""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from kdbench import data, models
from kdbench.data.batches import Batches
from kdbench.distill.fit import fit
from kdbench.distill.objective import Objective
from kdbench.progress import Silent
from kdbench.recipe import Training

OPTIMIZER = {"name": "sgd", "lr": 0.01}
AS_THE_BARE_LOOP = {"threads": 1, "precision": "32", "channels_last": False, "compile": False}
TRAINING = Training.model_validate({"epochs": 12, "batch": 64, "optimizer": OPTIMIZER, **AS_THE_BARE_LOOP})
NETWORKS = {"small": [16, 32, 32], "teacher": [64, 128, 256]}


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def network_of(widths: list[int]) -> nn.Module:
    torch.manual_seed(0)
    return models.build("convnet", (1, 8, 8), 10, widths=widths)


def batches_of(digits, part, *, train: bool) -> Batches:
    return Batches(part, batch=TRAINING.batch, mean=digits.mean, std=digits.std, train=train)


def bare_loop(network: nn.Module, train: Batches, validation: Batches) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    for epoch in range(TRAINING.epochs):
        network.train()
        train.set_epoch(epoch)
        for batch in train:
            loss = F.cross_entropy(network(batch.images), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for batch in validation:
                F.cross_entropy(network(batch.images), batch.labels)


@pytest.mark.parametrize("size", NETWORKS)
@pytest.mark.parametrize("loop", ["bare", "kdbench"])
def test_twelve_epochs_of_digits(benchmark, digits, tmp_path, size, loop):
    benchmark.group = size
    torch.set_num_threads(1)
    train, validation = batches_of(digits, digits.train, train=True), batches_of(digits, digits.test, train=False)
    folders = (tmp_path / str(number) for number in range(100))

    def kdbench_loop():
        fit(
            network_of(NETWORKS[size]), Objective(), train, validation, TRAINING,
            seed=0, folder=next(folders), key="k", progress=Silent(),
        )  # fmt: skip

    def bare():
        bare_loop(network_of(NETWORKS[size]), train, validation)

    benchmark.pedantic(bare if loop == "bare" else kdbench_loop, rounds=5, warmup_rounds=1)
