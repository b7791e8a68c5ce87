"""Several teachers of one student, which have to be different networks."""

import numpy as np
import pytest
from safetensors.torch import load_file

from kdbench.errors import InputError
from kdbench.recipe.loading import recipe_from
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.train import train

DENSE = {"name": "dense", "hidden": [4]}
SEVERAL = {"terms": [{"method": "multi_teacher"}]}


@pytest.fixture
def trained(few_digits, tmp_path):
    def train_with(*teachers, student=None, out="out"):
        content = {
            "name": "several",
            "data": {"name": few_digits},
            "training": {"epochs": 1, "threads": 1},
            "teacher": [{"model": DENSE, **teacher} for teacher in teachers],
            "student": {"name": "s", "model": DENSE, **SEVERAL, "teacher": ["a", "b"], **(student or {})},
        }
        return RunFolder(train(recipe_from(content), tmp_path / out))

    return train_with


def weights(folder, name):
    return load_file(folder.checkpoint(name) / "weights.safetensors")


def test_two_teachers_of_one_network_are_refused_before_anything_trains(trained, tmp_path):
    with pytest.raises(InputError, match="learns from 'a' and 'b', which are the same network") as refused:
        trained({"name": "a"}, {"name": "b"})
    assert "seed_offset" in refused.value.hint
    assert not (tmp_path / "out").exists()

    # They are: each alone has the same weights. With what the hint says, they differ.
    alone = trained({"name": "a"}, {"name": "b"}, student={"teacher": "a", "terms": [{"method": "kd"}]})
    first, second = weights(alone, "a"), weights(alone, "b")
    assert all(np.array_equal(first[name], second[name]) for name in first)
    differing = trained({"name": "a"}, {"name": "b", "seed_offset": 1}, out="differing")
    first, second = weights(differing, "a"), weights(differing, "b")
    assert not any(np.array_equal(first[name], second[name]) for name in first)


def test_one_file_of_logits_is_one_teacher(trained, few_digits, tmp_path):
    with np.load(few_digits.removeprefix("npz:")) as arrays:
        logits = np.random.default_rng(0).normal(size=(len(arrays["y_train"]), 10)).astype(np.float32)
    np.save(tmp_path / "l.npy", logits)
    same = [{"name": name, "model": {"name": "logits"}, "logits": str(tmp_path / "l.npy")} for name in "ab"]
    with pytest.raises(InputError, match="they have the same file"):
        trained(*same)
    np.save(tmp_path / "m.npy", 2 * logits)
    trained(same[0], {**same[1], "logits": str(tmp_path / "m.npy")})


def test_an_ensemble_of_teachers_that_are_not_named_is_refused(trained):
    """By default a student learns from the first teacher alone, of which multi_teacher makes the loss of kd."""
    both = {"name": "a"}, {"name": "b", "seed_offset": 1}
    with pytest.raises(InputError, match="multi_teacher combines the teachers that a student names") as refused:
        trained(*both, student={"teacher": []})
    assert "student.s.teacher" in refused.value.hint
    alone = trained(*both, student={"teacher": "a"})  # one is possible, as a point of a sweep
    kd = trained(*both, student={"teacher": [], "terms": [{"method": "kd"}]}, out="kd")
    first, second = weights(alone, "s"), weights(kd, "s")
    assert all(np.allclose(first[name], second[name], atol=1e-5) for name in first)
