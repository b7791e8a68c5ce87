import numpy as np
import pytest

import kdbench
from kdbench.errors import InputError


def images():
    return np.zeros((40, 1, 6, 6), np.uint8), np.arange(40) % 2, np.zeros((8, 1, 6, 6), np.uint8), np.arange(8) % 2


def of_few(student_logits):
    if len(student_logits) > 4:
        raise ValueError("too many")
    return student_logits.square().mean()


def test_what_user_code_raises_in_a_training_is_the_users(tmp_path):
    """As a loss that works on the few samples on which it was tried."""
    model = {"name": "dense", "hidden": [4]}
    student = {"name": "s", "model": model, "terms": {"method": f"{__name__}:of_few"}}
    recipe = {
        "name": "tiny",
        "data": {"name": f"{__name__}:images"},
        "training": {"epochs": 1, "batch": 8},
        "teacher": {"name": "t", "model": model},
        "student": student,
    }
    with pytest.raises(InputError, match="s: its code failed during the training: ValueError: too many") as caught:
        kdbench.train(recipe, tmp_path / "run")
    assert __file__ in caught.value.hint
