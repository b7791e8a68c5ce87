import pytest

from kdbench.report.cells import Number
from kdbench.report.figures.accuracy import sweep_accuracy
from kdbench.report.model_groups import families
from kdbench.report.tables.training import converged, sweeps, training
from kdbench.results.cards import Epoch, Origin
from kdbench.results.records import measured

POINTS = [(1, 2, 0.90), (1, 5, 0.94), (4, 2, 0.92), (4, 5, 0.91), (10, 2, 0.93), (10, 5, 0.95)]


@pytest.fixture
def record(make_record, make_card):
    cards, measurements = [make_card("teacher")], [measured("teacher", "top1", 0.98, n=100)]
    for temperature, epochs, top1 in POINTS:
        name = f"T{temperature}-{epochs}"
        axes = {"temperature": temperature, "epochs": epochs}
        cards.append(make_card("student-kd", id=name, name=name, family="T{temperature}-{epochs}", axes=axes))
        measurements.append(measured(name, "top1", top1, n=100))
    cards.append(make_card("student-alone", family="alone-{lr}", axes={"lr": 0.1}))  # a sweep of one point is none
    measurements.append(measured("student-alone", "top1", 0.5, n=100))
    return make_record(models=tuple(cards), measurements=tuple(measurements), pairs=(), warnings=(), layers=())


def test_family_has_axes_and_a_main_axis(record):
    (family,) = families(record)
    assert family.axes == {"temperature": [1, 4, 10], "epochs": [2, 5]}
    assert family.main_axis == "temperature"
    assert [member.label for member in family.members] == [f"T{t}-{e}" for t, e, _ in POINTS]


def test_main_axis_is_numeric_if_there_is_one(make_record, make_card):
    def along(**axes):
        names = [f"s{index}" for index in range(3)]
        cards = [
            make_card(
                "student-kd", id=name, name=name, family="f", axes={axis: values[i] for axis, values in axes.items()}
            )
            for i, name in enumerate(names)
        ]
        measurements = tuple(measured(name, "top1", 0.5, n=9) for name in names)
        (family,) = families(
            make_record(models=tuple(cards), measurements=measurements, pairs=(), warnings=(), layers=())
        )
        return family.main_axis

    assert along(teacher=["a", "b", "c"], lr=[0.1, 0.1, 0.2]) == "lr"
    assert along(teacher=["a", "b", "c"], half=["D0", "D1", "D0"]) == "teacher"
    assert along(flip=[True, False, True]) == "flip"


def test_the_table_has_a_row_a_point_and_one_best(record):
    table = sweeps(record)
    assert len(table.rows) == len(POINTS)
    assert [cell.text for cell in table.rows[2].cells[:3]] == [
        "T{temperature}-{epochs}",
        "temperature 4, epochs 2",
        "T4-2",
    ]
    best = [row.cells[3] for row in table.rows if isinstance(row.cells[3], Number) and row.cells[3].best]
    assert [cell.value for cell in best] == [0.95]


def test_without_sweeps_there_is_neither_table_nor_figure(sample):
    assert not sweeps(sample).shown
    assert sweep_accuracy(sample) is None


def test_the_figure_names_its_axes_and_lines(record):
    drawing = sweep_accuracy(record)
    for words in ("T{temperature}-{epochs}", "temperature", "epochs 2", "epochs 5", "Top-1, %"):
        assert words in drawing.svg
    assert "agreement" not in drawing.svg  # nothing was said of it


def test_values_relative_to_different_teachers_have_no_best(make_record, make_card):
    def best_of(parents):
        cards, measurements = [make_card("teacher")], [measured("teacher", "top1", 0.98, n=100)]
        for index, parent in enumerate(parents):
            name = f"s{index}"
            card = make_card("student-kd", id=name, name=name, family="f", axes={"step": index}, parents=(parent,))
            cards.append(card)
            measurements += [measured(name, metric, 0.5 + index / 10, n=100) for metric in ("top1", "agreement")]
        record = make_record(models=tuple(cards), measurements=tuple(measurements), pairs=(), warnings=(), layers=())
        heads = [column.head for column in sweeps(record).columns]
        return {
            head
            for row in sweeps(record).rows
            for head, cell in zip(heads, row.cells, strict=True)
            if isinstance(cell, Number) and cell.best
        }

    assert {"Top-1", "Agreement"} <= best_of(["teacher", "teacher"])
    assert "Agreement" not in best_of(["teacher", "s0"])
    assert "Top-1" in best_of(["teacher", "s0"])


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


def test_the_file_that_weights_came_from_is_told(make_record, make_card):
    origin = Origin(file="t.pth", sha256="0123456789abcdef" * 4, fresh=("head.weight",))
    cards = (make_card("teacher", origin=origin), make_card("student-kd"))
    notes = training(make_record(models=cards, measurements=(), pairs=(), warnings=(), layers=())).notes
    assert "teacher starts from t.pth (SHA-256 0123456789ab…); newly initialised: head.weight." in notes
    assert sum("starts from" in note for note in notes) == 1
