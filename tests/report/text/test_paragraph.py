import pytest

from kdbench.report.text.paragraph import paragraph
from kdbench.results.records import Interval, Pair, RunRecord, measured

SINGLE = {"provider": "cpu", "threads": 1, "batch": 1}


def pairs(teacher: str, student: str, **numbers: tuple[float, float, float] | float) -> list[Pair]:
    """Return pairs of a student with its teacher; a number alone has no interval."""
    results = []
    for metric, limits in numbers.items():
        value, *bounds = limits if isinstance(limits, tuple) else (limits,)
        axes = SINGLE if metric == "latency_ratio" else {}
        interval = Interval(low=bounds[0], high=bounds[1]) if bounds else None
        results.append(Pair(metric=metric, axes=axes, value=value, interval=interval, teacher=teacher, student=student))
    return results


@pytest.fixture
def describe(make_record, make_card, sample):
    def describe_with(**numbers: tuple[float, float, float] | float) -> str:
        cards = [make_card("teacher"), make_card("student-kd")]
        results = [m for m in sample.measurements if m.model in {"teacher", "student-kd"}]
        compared = pairs("teacher", "student-kd", **numbers)
        return paragraph(make_record(models=cards, measurements=results, pairs=compared, warnings=()))

    return describe_with


def test_a_clear_loss_and_a_clear_gain(describe) -> None:
    text = describe(top1_drop=(0.55, 0.2, 0.9), latency_ratio=(5.35, 5.15, 5.54), size_ratio=12.1)
    assert (
        "`student-kd` keeps 97.78 % top-1 (0.55 points below the teacher; 95 % interval of the drop [+0.20, +0.90]), "
        "runs 5.35× [5.15, 5.54] faster, and its file is 12.1× smaller."
    ) in text


def test_a_drop_whose_interval_holds_zero_is_not_called_a_loss(describe) -> None:
    assert "which this run cannot distinguish from the teacher's" in describe(top1_drop=(0.55, -0.6, 1.7))


def test_no_drop_is_neither_above_nor_below(describe) -> None:
    assert "(the same accuracy as the teacher; 95 % interval of the drop [-0.77, +0.77])" in describe(
        top1_drop=(0.0, -0.77, 0.77)
    )


def test_a_speed_up_whose_interval_holds_one_is_not_called_faster(describe) -> None:
    text = describe(latency_ratio=(1.02, 0.97, 1.06))
    assert "not measurably faster or slower" in text
    assert " faster," not in text


def test_slower_and_larger_student(describe) -> None:
    text = describe(latency_ratio=(0.8, 0.7, 0.9), size_ratio=0.5)
    assert "is slower than the teacher (0.800× [0.700, 0.900] its speed)" in text
    assert "its file is larger (size ratio 0.500×)" in text


def test_a_better_student_is_above_the_teacher(describe) -> None:
    assert "has 97.78 % top-1 (0.70 points above the teacher" in describe(top1_drop=(-0.7, -0.9, -0.5))


def test_numbers_without_intervals_and_missing_numbers(describe) -> None:
    text = describe(top1_drop=0.5)
    assert "no interval" in text
    assert "has no speed-up (not measured)" in text


def test_of_many_students_the_most_accurate_and_a_clearly_faster_one_are_named(sample, make_record) -> None:
    assert "Highest top-1: `student-kd`" in paragraph(sample)
    assert "Clearly fastest" not in paragraph(sample)


@pytest.fixture
def timed(sample, make_record):
    """Return a function that describes the sample with other mean latencies at batch 1: value, low, high."""

    def describe_with(**times: tuple[float, float, float]) -> str:
        results = []
        for m in sample.measurements:
            limits = times.get(m.model.replace("-", "_"))
            if limits and m.metric == "latency_mean_ns" and m.axes["batch"] == 1:
                value, low, high = limits
                m = m.model_copy(update={"value": value, "interval": Interval(low=low, high=high)})  # noqa: PLW2901
            results.append(m)
        return paragraph(make_record(measurements=results))

    return describe_with


def test_the_clearly_fastest_student_is_named_whatever_its_speed_up(timed) -> None:
    text = timed(student_hint=(1e5, 0.9e5, 1.1e5))
    assert "Highest top-1: `student-kd`. It" in text
    assert "Clearly fastest: `student-hint`. It" in text


def test_whose_interval_overlaps_any_others_is_not_clearly_fastest(timed) -> None:
    assert "Clearly fastest" not in timed(student_hint=(1e5, 0.9e5, 1.1e5), student_alone=(1.1e5, 1e5, 1.2e5))


def test_the_best_in_both_is_named_once(timed) -> None:
    text = timed(student_kd=(1e5, 0.9e5, 1.1e5))
    assert "Highest top-1 and clearly fastest: `student-kd`. It" in text
    assert text.count("`student-kd`") == 1


@pytest.fixture
def of_three_teachers(make_record, make_card) -> RunRecord:
    """Return a run of three teachers and four students, as the recipe cifar100_function_matching makes one.

    `from-slow` has the largest speed-up, over a slow teacher, and `from-fast` the shortest time.
    """
    models = {  # teacher, top-1 in per cent, mean latency in ns
        "slow": (None, 80.0, 9_000_000.0),
        "middle": (None, 78.0, 2_000_000.0),
        "fast": (None, 75.0, 600_000.0),
        "alone": ("fast", 60.0, 400_000.0),
        "from-slow": ("slow", 70.0, 450_000.0),
        "from-middle": ("middle", 72.0, 420_000.0),
        "from-fast": ("fast", 71.0, 300_000.0),
    }
    cards, results, compared = [], [], []
    for name, (teacher, top1, mean) in models.items():
        cards.append(make_card("student-kd", id=name, name=name, role="student" if teacher else "teacher"))
        bounds = Interval(low=0.99 * mean, high=1.01 * mean)
        results.append(measured(name, "top1", top1 / 100))
        results.append(measured(name, "latency_mean_ns", mean, axes=SINGLE, interval=bounds))
        if teacher:
            ratio, drop = models[teacher][2] / mean, models[teacher][1] - top1
            numbers = {
                "latency_ratio": (ratio, 0.98 * ratio, 1.02 * ratio),
                "top1_drop": (drop, drop - 0.5, drop + 0.5),
            }
            compared += pairs(teacher, name, **numbers)
    return make_record(models=cards, measurements=results, pairs=compared, warnings=())


def test_students_of_several_teachers_are_compared_with_their_teacher(of_three_teachers) -> None:
    text = paragraph(of_three_teachers)
    assert text.startswith("3 teachers and 4 students: each student is compared with its own teacher. ")
    assert "compared with it." not in text
    assert (
        "Highest top-1: `from-middle`. It keeps 72.00 % top-1 (6.00 points below `middle`; 95 % interval of the "
        "drop [+5.50, +6.50]) and runs 4.76× [4.67, 4.86] faster than `middle`."
    ) in text
    # from-slow has the largest ratio, 20×; from-fast takes the shortest time.
    assert "Clearly fastest: `from-fast`. It" in text
    assert "the teacher" not in text


def test_variants_are_counted_apart(make_record, make_card) -> None:
    variant = {"id": "small-int8", "name": "small-int8", "role": "variant", "parents": ("student-kd",)}
    cards = [make_card("teacher"), make_card("student-kd"), make_card("student-kd", **variant)]
    compared = [*pairs("teacher", "student-kd", size_ratio=2.0), *pairs("student-kd", "small-int8", size_ratio=3.0)]
    text = paragraph(make_record(models=cards, measurements=[], pairs=compared, warnings=()))
    assert text.startswith("1 teacher, 1 student and 1 compressed variant: each variant is compared with the model")


def test_the_teacher_is_the_one_that_students_are_compared_with(make_record, make_card, sample) -> None:
    other = make_card("teacher", id="other", name="other")
    text = paragraph(make_record(models=(other, *sample.models)))
    assert text.startswith("The teacher `teacher` reaches 98.33 %")


def test_student_without_numbers_has_one_sentence_with_the_reason(refused, make_record) -> None:
    pairs = [pair for pair in refused.pairs if pair.student == "student-hint"]
    text = paragraph(make_record(measurements=refused.measurements, pairs=pairs, warnings=()))
    assert "`student-hint` has no results (the ONNX file strays from the…)." in text
    assert "No value for Energy / run (no energy counter could be read)." in text


@pytest.fixture
def saving(metered):
    """Return what tells of student-alone beside the teacher, with another energy ratio at batch 1."""

    def describe_with(ratio: tuple[float, float, float], record: RunRecord = metered, **changes: object) -> str:
        both = {"teacher", "student-alone"}
        results = [m for m in record.measurements if m.model in both]
        kept = [p for p in record.pairs if p.student == "student-alone" and p.metric != "energy_ratio"]
        (pair,) = pairs("teacher", "student-alone", energy_ratio=ratio)
        limits = pair.model_copy(update={"axes": SINGLE, **changes})
        cards = [card for card in record.models if card.id in both]
        return paragraph(record.model_copy(update={"models": cards, "measurements": results, "pairs": [*kept, limits]}))

    return describe_with


def test_energy_saving_names_its_scope(saving, metered_gpu) -> None:
    assert ", takes 5.11× [4.97, 5.26] less energy of the CPU packages, and its file" in saving((5.11, 4.97, 5.26))
    assert "less energy of the board of GPU 0, and" in saving((5.11, 4.97, 5.26), metered_gpu)


def test_an_energy_ratio_whose_interval_holds_one_or_is_below_is_no_saving(saving) -> None:
    assert "not take measurably less or more energy of the CPU packages (ratio 1.02×" in saving((1.02, 0.97, 1.06))
    assert "takes more energy of the CPU packages (ratio 0.800× [0.700, 0.900])" in saving((0.8, 0.7, 0.9))


def test_estimated_energy_saving_is_omitted(saving, estimated) -> None:
    assert "energy" not in saving((5.11, 4.97, 5.26), estimated, evidence="estimated", interval=None)
    assert "energy" not in saving((5.11, 4.97, 5.26), evidence="estimated")


def test_saving_from_unstable_energies_is_told_by_its_interval(saving, metered) -> None:
    shaky = [
        m.model_copy(update={"status": "unstable", "reason": "drift"})
        if (m.model, m.metric, m.axes.get("batch")) == ("teacher", "energy_j", 1)
        else m
        for m in metered.measurements
    ]
    text = saving((5.11, 4.97, 5.26), metered.model_copy(update={"measurements": shaky}))
    assert "5.11× [4.97, 5.26] less energy" in text


def test_gaps_and_warnings_are_named(sample) -> None:
    text = paragraph(sample)
    assert "No value for Energy / run (no energy counter could be read)." in text
    assert "5 measurements are unstable" in text
    assert "Read the 2 warnings" in text


def test_models_without_a_teacher(make_record, make_card) -> None:
    record = make_record(models=[make_card("student-kd")], measurements=(), pairs=(), warnings=())
    assert paragraph(record).startswith(
        "`student-kd` has no accuracy (not measured) and has no latency (not measured)."
    )


def test_a_run_without_times_says_nothing_of_them(sample) -> None:
    untimed = sample.model_copy(update={"protocol": {**sample.protocol, "times": False}})
    text = paragraph(untimed)
    assert "top-1" in text
    for word in ("latency", "speed", "faster", "Energy"):
        assert word not in text


def test_files_of_one_size_are_not_called_smaller(describe) -> None:
    assert "and its file has the same size." in describe(top1_drop=(0.55, 0.2, 0.9), size_ratio=1.001)
    assert "its file is 1.01× smaller" in describe(top1_drop=(0.55, 0.2, 0.9), size_ratio=1.008)
