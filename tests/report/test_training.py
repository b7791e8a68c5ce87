import pytest

from kdbench.report.tables.training import converged
from kdbench.results.cards import Epoch


@pytest.mark.parametrize(
    ("curve", "expected"),
    [([0.2, 0.5, 0.90, 0.896, 0.9], 3), ([0.2, 0.896, 0.9], 2), ([0.9, 0.2], 1), ([0.894, 0.9], 2)],
)
def test_a_training_has_converged_half_a_point_from_its_best(make_card, curve, expected):
    rows = tuple(
        Epoch(
            epoch=number,
            train_loss=1,
            train_top1=0,
            validation_loss=1,
            validation_top1=top1,
            learning_rate=1,
            seconds=1,
        )
        for number, top1 in enumerate(curve, start=1)
    )
    run = make_card("student-kd").training
    assert converged(run.model_copy(update={"curve": rows})) == expected
    assert converged(run.model_copy(update={"curve": ()})) == "?"
