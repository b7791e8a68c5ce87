import numpy as np
import pytest
from scipy import stats

from kdbench.report.model_groups import model_groups, teacher_of
from kdbench.report.numbers import mean_over_seeds, number
from kdbench.results.records import Interval, Pair, measured, missing


@pytest.mark.parametrize("values", [[0.91, 0.93], [97.1, 97.4, 97.2], list(np.random.default_rng(0).normal(size=9))])
def test_values_without_intervals_have_students_t_interval_over_the_seeds(values: list[float]) -> None:
    mean, interval = mean_over_seeds([(value, None) for value in values])
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert mean == pytest.approx(np.mean(values))
    assert (interval.low, interval.high, interval.level) == (pytest.approx(low), pytest.approx(high), 0.95)


def test_seeds_with_equal_numbers_keep_the_interval_of_the_test_samples() -> None:
    mean, interval = mean_over_seeds([(0.25, Interval(low=0.2, high=0.35))] * 3)
    assert (mean, interval.low, interval.high) == (0.25, pytest.approx(0.2), pytest.approx(0.35))


def test_seeds_of_one_name_are_one_subject(seeded) -> None:
    results = model_groups(seeded)
    assert [(s.label, len(s.ids)) for s in results] == [
        ("teacher", 2),
        ("student-alone", 2),
        ("student-kd", 2),
        ("student-hint", 2),
    ]
    top1 = number(seeded, results[2], "top1")
    assert top1.value == pytest.approx((0.9778 + 0.9678) / 2)
    drop = number(seeded, results[2], "top1_drop")
    assert drop.value == pytest.approx((0.55 + 1.05) / 2)
    assert teacher_of(seeded, results[2]) == "teacher"


@pytest.mark.parametrize(("p_values", "expected"), [((0.01, 0.03), 0.04), ((0.4, 0.9), 1.0)])
def test_a_p_value_of_several_seeds_is_twice_the_mean_without_an_interval(make_record, make_card, p_values, expected):
    cards = [make_card("teacher")] + [make_card("student-kd", id=f"kd-{seed}", seed=seed) for seed in range(2)]
    pairs = [
        Pair(metric="mcnemar_p", value=p, n=20, teacher="teacher", student=f"kd-{seed}")
        for seed, p in enumerate(p_values)
    ]
    record = make_record(models=cards, measurements=(), pairs=pairs, warnings=())
    cell = number(record, model_groups(record)[1], "mcnemar_p")
    assert (cell.value, cell.interval) == (pytest.approx(expected), None)


def test_a_share_over_seeds_stays_a_share(seeded) -> None:
    top1 = number(seeded, model_groups(seeded)[0], "top1")  # 98.33 % and 97.33 %: t interval beyond 100 %
    assert top1.interval.high == 1.0


def test_speed_and_size_are_those_of_the_first_seed(seeded, sample) -> None:
    of_many, of_one = model_groups(seeded)[2], model_groups(sample)[2]
    for metric in ("latency_mean_ns", "size_bytes", "macs", "training_s"):
        assert number(seeded, of_many, metric) == number(sample, of_one, metric)


def test_seed_without_a_value_is_counted_and_excluded(make_record, make_card) -> None:
    cards = [make_card("student-kd", id=f"kd-{seed}", seed=seed) for seed in range(3)]
    why = missing("kd-1", "top1", "the logits are not finite", status="invalid")
    results = [measured("kd-0", "top1", 0.9), why, measured("kd-2", "top1", 0.8)]
    record = make_record(models=cards, measurements=results, pairs=(), warnings=())
    (group,) = model_groups(record)
    assert number(record, group, "top1").value == pytest.approx(0.85)
    assert number(record, group, "top1").aside == "2 of 3 seeds"
    record = make_record(models=cards, measurements=results[:2], pairs=(), warnings=())
    assert number(record, group, "top1").text == "90.00 % (1 of 3 seeds)"
    record = make_record(models=cards, measurements=[why], pairs=(), warnings=())
    assert number(record, group, "top1").text == "n/a (the logits are not finite)"


def test_one_file_for_all_seeds_has_the_interval_of_its_number(make_record, make_card) -> None:
    """A teacher that is given as a file is measured with every seed, and its number repeats."""
    cards = [make_card("student-kd", id=f"kd-{seed}", seed=seed, sha256="ab" * 32) for seed in range(3)]
    own = Interval(low=0.88, high=0.92)
    results = [measured(card.id, "top1", 0.9, interval=own, n=900) for card in cards]
    record = make_record(models=cards, measurements=results, pairs=(), warnings=())
    (group,) = model_groups(record)
    assert [card.id for card in group.distinct] == ["kd-0"]
    cell = number(record, group, "top1")
    assert (cell.value, cell.interval) == (0.9, own)


def test_a_mean_with_an_unstable_seed_is_unstable(make_record, make_card) -> None:
    cards = [make_card("student-kd", id=f"kd-{seed}", seed=seed) for seed in range(2)]
    results = [measured("kd-0", "top1", 0.9), measured("kd-1", "top1", 0.8, unstable="few samples")]
    record = make_record(models=cards, measurements=results, pairs=(), warnings=())
    cell = number(record, model_groups(record)[0], "top1")
    assert (cell.status, cell.reason) == ("unstable", "few samples")


def test_files_that_share_a_name_but_no_seed_are_different_models(make_record, make_card) -> None:
    cards = [make_card("student-kd", id=id_, name="model", seed=None) for id_ in ("a-model", "b-model")]
    record = make_record(models=cards, measurements=(), pairs=(), warnings=())
    assert [s.label for s in model_groups(record)] == ["a-model", "b-model"]


def test_the_teacher_stands_first_wherever_it_is_in_the_record(make_record, make_card) -> None:
    cards = [make_card("student-kd"), make_card("teacher"), make_card("student-alone")]
    record = make_record(models=cards, measurements=(), pairs=(), warnings=())
    assert [s.label for s in model_groups(record)] == ["teacher", "student-kd", "student-alone"]


def test_a_pair_keeps_how_it_came_about(estimated, metered) -> None:
    for record, evidence in ((estimated, "estimated"), (metered, "measured")):
        student = model_groups(record)[2]
        ratio = number(record, student, "energy_ratio", {"batch": 1})
        assert (ratio.evidence, ratio.competes) == (evidence, evidence == "measured")


def test_missing_pair_has_the_reason_of_its_measurement(make_record, make_card) -> None:
    cards = [make_card("teacher"), make_card("student-kd")]
    results = [missing("student-kd", "top1", "the classes do not match", hint="export it again")]
    record = make_record(models=cards, measurements=results, pairs=(), warnings=())
    student = model_groups(record)[1]
    assert number(record, student, "top1_drop").text == "n/a (the classes do not match)"
    assert number(record, student, "top1_drop").hint == "export it again"
    assert number(record, student, "size_ratio").text == "n/a (not measured)"


def test_a_missing_energy_ratio_has_the_reason_of_the_energy_at_its_batch(make_record, make_card) -> None:
    results = [
        measured("student-kd", "energy_j", 0.1, axes={"batch": 1}),
        missing("student-kd", "energy_j", "killed", axes={"batch": 8}),
    ]
    record = make_record(models=[make_card("student-kd")], measurements=results, pairs=(), warnings=())
    (student,) = model_groups(record)
    assert number(record, student, "energy_ratio", {"batch": 8}).text == "n/a (killed)"
