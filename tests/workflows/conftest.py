"""Data that studies train on in a blink."""

from pathlib import Path

import numpy as np
import pytest

from kdbench import data


@pytest.fixture(scope="session")
def few_digits(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name an archive with a sixth of the embedded digits to train on and a third of those to test on."""
    digits = data.load("digits")
    path: Path = tmp_path_factory.mktemp("data") / "few.npz"
    train, test = digits.train, digits.test
    arrays = {"x_train": train.inputs[::6], "y_train": train.labels[::6]}
    np.savez(path, **arrays, x_test=test.inputs[::3], y_test=test.labels[::3])
    return f"npz:{path}"
