import pytest

from kdbench.report.cells import Number
from kdbench.report.figures.training import sweep_accuracy
from kdbench.report.settings import families
from kdbench.report.tables.training import sweeps
from kdbench.results.records import measured

POINTS = [(1, 2, 0.90), (1, 5, 0.94), (4, 2, 0.92), (4, 5, 0.91), (10, 2, 0.93), (10, 5, 0.95)]


@pytest.fixture
def record(make_record, make_card):
    cards, found = [make_card("teacher")], [measured("teacher", "top1", 0.98, n=100)]
    for temperature, epochs, top1 in POINTS:
        name = f"T{temperature}-{epochs}"
        axes = {"temperature": temperature, "epochs": epochs}
        cards.append(make_card("student-kd", id=name, name=name, family="T{temperature}-{epochs}", axes=axes))
        found.append(measured(name, "top1", top1, n=100))
    cards.append(make_card("student-alone", family="alone-{lr}", axes={"lr": 0.1}))  # a sweep of one point is none
    found.append(measured("student-alone", "top1", 0.5, n=100))
    return make_record(models=tuple(cards), measurements=tuple(found), pairs=(), warnings=(), layers=())


def test_a_family_knows_its_axes_and_the_one_to_draw_along(record):
    (family,) = families(record)
    assert family.axes == {"temperature": [1, 4, 10], "epochs": [2, 5]}
    assert family.main_axis == "temperature"
    assert [member.label for member in family.members] == [f"T{t}-{e}" for t, e, _ in POINTS]


def test_words_are_drawn_along_only_where_there_is_no_number(make_record, make_card):
    def along(**axes):
        names = [f"s{index}" for index in range(3)]
        cards = [
            make_card(
                "student-kd", id=name, name=name, family="f", axes={axis: values[i] for axis, values in axes.items()}
            )
            for i, name in enumerate(names)
        ]
        found = tuple(measured(name, "top1", 0.5, n=9) for name in names)
        (family,) = families(make_record(models=tuple(cards), measurements=found, pairs=(), warnings=(), layers=()))
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


def test_what_is_relative_to_different_teachers_has_no_best(make_record, make_card):
    def best_of(parents):
        cards, found = [make_card("teacher")], [measured("teacher", "top1", 0.98, n=100)]
        for index, parent in enumerate(parents):
            name = f"s{index}"
            card = make_card("student-kd", id=name, name=name, family="f", axes={"step": index}, parents=(parent,))
            cards.append(card)
            found += [measured(name, metric, 0.5 + index / 10, n=100) for metric in ("top1", "agreement")]
        record = make_record(models=tuple(cards), measurements=tuple(found), pairs=(), warnings=(), layers=())
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
