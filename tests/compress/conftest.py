"""A real network and real images for tests of compression."""

import numpy as np
import pytest

from kdbench import data

SEED = 1


@pytest.fixture(autouse=True)
def _same_numbers(request, monkeypatch):
    """Give a test the same random numbers whichever tests run before it in its process."""
    if hasattr(request.module, "RNG"):
        monkeypatch.setattr(request.module, "RNG", np.random.default_rng(SEED))


@pytest.fixture(scope="session")
def resnet20(foreign_models):
    """The path of a ResNet-20 for CIFAR-10 that somebody else trained."""
    return foreign_models / "resnet20_cifar10.onnx"


@pytest.fixture(scope="session")
def cifar(data_root):
    """CIFAR-10's first 700 test images as that network reads them, with their labels."""
    test = data.load("cifar10", root=str(data_root), parts=("test",)).test
    images, labels = np.asarray(test.inputs[:700]), np.asarray(test.labels[:700])
    mean, std = (
        np.array(values, np.float32)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    return ((images / np.float32(255) - mean) / std).astype(np.float32), labels
