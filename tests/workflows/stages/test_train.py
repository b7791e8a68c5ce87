import numpy as np
import pytest

import kdbench
from kdbench.errors import InputError
from kdbench.results.cards import EnergyUse, Training
from kdbench.workflows.stages.train import merge_part_training


def trained(seconds, joules=None, source="rapl", **changes):
    use = EnergyUse(scope="cpu", source=source, evidence="measured", energy_j=joules or 0, half_width_j=1)
    values = {
        "objective": "CE", "epochs": 3, "best_epoch": 2, "kept_epoch": 2, "seconds": seconds, "precision": "32",
        "device": "cpu", "threads": 1, "seed": 0, "energy": () if joules is None else (use,),
        "unmetered": "no counter" if joules is None else None,
    }  # fmt: skip
    return Training(**{**values, **changes})


def test_the_parts_time_and_energy_are_the_whole_ones():
    whole = merge_part_training(trained(1, 10, epochs=5), [trained(4, 20), trained(6, 30)])
    assert whole.seconds == 11
    assert (whole.energy[0].energy_j, whole.energy[0].half_width_j) == (60, 3)
    assert whole.unmetered is None
    assert whole.epochs == 5
    assert whole.objective == "2 parts alone, 3 epochs each: CE; fused: CE"


def test_without_a_meter_for_every_part_there_is_no_sum_but_the_reason():
    assert merge_part_training(trained(1), [trained(4, 20)]).unmetered == "no counter"
    mixed = merge_part_training(trained(1, 10), [trained(4, 20, source="nvml")])
    assert mixed.energy == ()
    assert "different sources" in mixed.unmetered


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
