import pytest

from kdbench.records import Interval, Pair
from kdbench.report.prose import paragraph


def pairs(**numbers: tuple[float, float, float] | float) -> list[Pair]:
    """Return pairs of student-kd with the teacher; a number alone has no interval."""
    found = []
    for metric, given in numbers.items():
        value, *bounds = given if isinstance(given, tuple) else (given,)
        axes = {"provider": "cpu", "threads": 1, "batch": 1} if metric == "latency_ratio" else {}
        interval = Interval(low=bounds[0], high=bounds[1]) if bounds else None
        ends = {"teacher": "teacher", "student": "student-kd"}
        found.append(Pair(metric=metric, axes=axes, value=value, interval=interval, **ends))
    return found


@pytest.fixture
def told(make_record, make_card, sample):
    def tell(**numbers: tuple[float, float, float] | float) -> str:
        cards = [make_card("teacher"), make_card("student-kd")]
        found = [m for m in sample.measurements if m.model in {"teacher", "student-kd"}]
        return paragraph(make_record(models=cards, measurements=found, pairs=pairs(**numbers), warnings=()))

    return tell


def test_a_clear_loss_and_a_clear_gain(told) -> None:
    text = told(top1_drop=(0.55, 0.2, 0.9), latency_ratio=(5.35, 5.15, 5.54), size_ratio=12.1)
    assert (
        "`student-kd` keeps 97.78 % top-1 (0.55 points below the teacher; 95 % interval of the drop [+0.20, +0.90]), "
        "runs 5.35× [5.15, 5.54] faster, and its file is 12.1× smaller."
    ) in text


def test_a_drop_whose_interval_holds_zero_is_not_called_a_loss(told) -> None:
    assert "which this run cannot tell from the teacher's" in told(top1_drop=(0.55, -0.6, 1.7))


def test_no_drop_is_neither_above_nor_below(told) -> None:
    assert "(the same number of samples right; 95 % interval of the drop [-0.77, +0.77])" in told(
        top1_drop=(0.0, -0.77, 0.77)
    )


def test_a_speed_up_whose_interval_holds_one_is_not_called_faster(told) -> None:
    text = told(latency_ratio=(1.02, 0.97, 1.06))
    assert "neither faster nor slower beyond doubt" in text
    assert " faster," not in text


def test_slower_and_larger_are_said_so(told) -> None:
    text = told(latency_ratio=(0.8, 0.7, 0.9), size_ratio=0.5)
    assert "is slower than the teacher (0.800× [0.700, 0.900] its speed)" in text
    assert "its file is larger (size ratio 0.500×)" in text


def test_a_better_student_is_above_the_teacher(told) -> None:
    assert "has 97.78 % top-1 (0.70 points above the teacher" in told(top1_drop=(-0.7, -0.9, -0.5))


def test_numbers_without_intervals_and_missing_numbers_are_said_so(told) -> None:
    text = told(top1_drop=0.5)
    assert "no interval" in text
    assert "has no speed-up (not measured)" in text


def test_of_many_students_the_most_accurate_and_a_clearly_faster_one_are_named(sample, make_record) -> None:
    assert "Highest in top-1 is `student-kd`" in paragraph(sample)
    assert "Clearly fastest" not in paragraph(sample)
    faster = [
        pair.model_copy(update={"value": 9.0, "interval": Interval(low=8.0, high=10.0)})
        if pair.student == "student-hint" and pair.metric == "latency_ratio" and pair.value
        else pair
        for pair in sample.pairs
    ]
    assert "Clearly fastest is `student-hint`" in paragraph(make_record(pairs=faster))


def test_gaps_and_warnings_are_named(sample) -> None:
    text = paragraph(sample)
    assert "There is no number for Energy / run (no energy counter could be read)." in text
    assert "5 measurements are unstable" in text
    assert "Read the 2 warnings" in text


def test_models_without_a_teacher(make_record, make_card) -> None:
    record = make_record(models=[make_card("student-kd")], measurements=(), pairs=(), warnings=())
    assert paragraph(record).startswith(
        "`student-kd` has no accuracy (not measured) and has no latency (not measured)."
    )
