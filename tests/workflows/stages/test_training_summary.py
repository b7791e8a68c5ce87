from kdbench.results.cards import EnergyUse, Training
from kdbench.workflows.stages.training_summary import merge_part_training


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
