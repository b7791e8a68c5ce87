"""A network of kdbench's own, its weights, and the model as a measuring process that runs it in torch sees it."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file

from kdbench import models
from kdbench.measure.staging import null_model
from kdbench.worker.jobs import Network

SHAPE = (2, 3, 4)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return models.build("dense", SHAPE, 6, hidden=(8,), dropout=0.5).eval()


@pytest.fixture
def torch_model(network, tmp_path):
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    description = Network(
        "kdbench.models:build",
        ("dense", SHAPE, 6),
        {"hidden": (8,), "dropout": 0.5},
        str(tmp_path / "weights.safetensors"),
    )
    return dataclasses.replace(null_model(tmp_path), id="dense", shape=SHAPE, fixed_batch=None, network=description)
