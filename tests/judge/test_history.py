"""Series of records by machine, study and test data, with their changes of level."""

import math
from datetime import datetime

import numpy as np
import pytest
from judge.dated_runs import AXES, latency, record

from kdbench.errors import InputError
from kdbench.judge.excerpts import Excerpt
from kdbench.judge.history import MAIN, history
from kdbench.judge.located_records import LocatedRecord
from kdbench.results.histories import History
from kdbench.results.metrics.metric import BETWEEN_RUNS
from kdbench.results.records import Interval, Pair, RunRecord, measured, missing


def located(*records: RunRecord) -> list[LocatedRecord]:
    return [
        LocatedRecord(f"run-{n}", datetime.fromisoformat(run_record.created), Excerpt.of(run_record))
        for n, run_record in enumerate(records)
    ]


def days(values: list[float], **facts: object) -> list[LocatedRecord]:
    return located(*(record(day, latency(value), **facts) for day, value in enumerate(values)))


def stepping(n: int = 20, at: int = 12, by: float = 1.2) -> list[float]:
    rng = np.random.default_rng(0)
    return [1000.0 * math.exp(rng.normal(0, 0.01)) * (by if day >= at else 1.0) for day in range(n)]


def test_a_step_is_found_with_its_size_interval_and_direction():
    (series,) = history(days(stepping()), ["latency_p50_ns"]).series
    (change,) = series.changes
    assert change.at == 12
    assert change.change == pytest.approx(1.2, rel=0.02)
    assert change.interval.low < 1.2 < change.interval.high
    assert change.better is False
    assert [(level.first, level.last) for level in series.levels] == [(0, 11), (12, 19)]
    assert series.levels[1].value / series.levels[0].value == pytest.approx(change.change)
    assert (series.points[12].commit, series.points[12].run) == (f"{12:040x}", "run-12")


def test_faster_is_better():
    (series,) = history(days(stepping(by=0.7)), ["latency_p50_ns"]).series
    assert [change.better for change in series.changes] == [True]


def test_a_virtual_machines_times_scatter_between_runs():
    small_step = stepping(n=12, at=6, by=1.06)
    (bare,) = history(days(small_step), ["latency_p50_ns"]).series
    (guest,) = history(days(small_step, virtualization="yes"), ["latency_p50_ns"]).series
    assert len(bare.changes) == 1
    assert guest.changes == ()
    scatter = math.log(1.01 / 0.99) / 3.92
    assert bare.scatter == pytest.approx(scatter)
    assert guest.scatter == pytest.approx(math.hypot(scatter, BETWEEN_RUNS))


@pytest.mark.parametrize(("metric", "varies"), [("throughput_per_s", True), ("energy_j", False), ("training_s", False)])
def test_only_times_in_nanoseconds_and_rates_scatter_between_runs(metric, varies):
    bounds = Interval(low=0.99, high=1.01)
    records = [record(day, measured("small", metric, 1.0, interval=bounds), virtualization="kvm") for day in range(6)]
    (series,) = history(located(*records), [metric]).series
    assert series.scatter == pytest.approx(math.hypot(math.log(1.01 / 0.99) / 3.92, BETWEEN_RUNS if varies else 0.0))


def test_another_machine_is_another_series_for_times_and_not_for_accuracies():
    records = [
        record(day, latency(1000.0 + day), measured("small", "top1", 0.9), cpu="EPYC" if day % 2 else "Xeon")
        for day in range(6)
    ]
    series = history(located(*records), ["latency_p50_ns", "top1"]).series
    assert [(one.metric, one.machine, len(one.points)) for one in series] == [
        ("latency_p50_ns", "Xeon, 4 cores", 3),
        ("latency_p50_ns", "EPYC, 4 cores", 3),
        ("top1", "", 6),
    ]


def test_models_of_two_studies_have_nothing_but_a_name_in_common():
    night = [record(day, latency(1000.0), measured("small", "top1", 0.9)) for day in range(4)]
    other = [run_record.model_copy(update={"name": "mnist"}) for run_record in night[2:]]
    series = history(located(*night[:2], *other), ["top1", "latency_p50_ns"]).series
    assert [(one.metric, one.study, len(one.points)) for one in series] == [
        ("top1", "ci", 2),
        ("top1", "mnist", 2),
        ("latency_p50_ns", "ci", 2),
        ("latency_p50_ns", "mnist", 2),
    ]
    assert {one.study for one in history(located(*night)).series} == {""}


def test_other_test_data_is_another_series_of_what_is_scored_on_it():
    night = [record(day, measured("small", "size_bytes", 9), measured("small", "top1", 0.9)) for day in range(4)]
    loaded = [run_record.model_copy(update={"protocol": {"test_set_sha256": "a" * 64}}) for run_record in night[1:]]
    series = history(located(night[0], *loaded), ["top1", "size_bytes"]).series
    assert [(one.metric, one.test_set, len(one.points)) for one in series] == [
        ("top1", "unknown", 1),
        ("top1", "a" * 64, 3),
        ("size_bytes", "", 4),
    ]
    assert {one.test_set for one in history(located(*loaded)).series} == {""}


def test_another_onnxruntime_is_named_at_the_change():
    values = stepping(n=12, at=6)
    records = [record(day, latency(v), runtime="1.31" if day >= 6 else "1.30") for day, v in enumerate(values)]
    (series,) = history(located(*records), ["latency_p50_ns"]).series
    assert series.runtimes == {6: "1.30 → 1.31"}
    assert [change.runtime for change in series.changes] == ["1.30 → 1.31"]


def test_what_is_missing_without_an_interval_or_estimated_is_a_gap_with_its_reason():
    shaky = measured("small", "latency_p50_ns", 9e9, axes=AXES, unstable="the sessions disagree by 31 %")
    absent = missing("small", "latency_p50_ns", "needs 64 samples, has 15", axes=AXES)
    guessed = measured("small", "latency_p50_ns", 9e9, axes=AXES, evidence="estimated")
    records = [record(day, latency(1000.0 + day)) for day in range(6)]
    odd = [record(6 + n, measurement) for n, measurement in enumerate((shaky, absent, guessed))]
    (series,) = history(located(*records, *odd), ["latency_p50_ns"]).series
    assert [point.reason for point in series.points[6:]] == [
        "unstable: the sessions disagree by 31 %",
        "needs 64 samples, has 15",
        "an estimate, not a measurement",
    ]
    assert [point.counts for point in series.points] == [True] * 6 + [False] * 3
    assert series.points[6].value == 9e9
    assert series.counted == 6
    assert series.changes == ()


def test_an_unstable_number_with_an_interval_counts_with_what_its_run_shows():
    wide, narrow = Interval(low=700.0, high=1400.0), Interval(low=980.0, high=1020.0)
    spread = {"interval": wide, "within_run": narrow, "unstable": "restless"}
    shaky = measured("small", "latency_p50_ns", 1000.0, axes=AXES, **spread)
    (series,) = history(located(record(0, shaky), record(1, latency(1000.0))), ["latency_p50_ns"]).series
    assert series.counted == 2
    assert series.points[0].interval == narrow


def test_gaps_do_not_move_the_place_of_a_change():
    shaky = measured("small", "latency_p50_ns", 9e9, axes=AXES, unstable="restless")
    values = stepping(n=12, at=6)
    records = [record(0, shaky), *(record(day, latency(value)) for day, value in enumerate(values, 1))]
    (series,) = history(located(*records), ["latency_p50_ns"]).series
    assert [change.at for change in series.changes] == [7]
    assert (series.levels[0].first, series.levels[1].last) == (1, 12)


def test_counts_change_wherever_they_differ_even_once():
    sizes = [100, 100, 90]
    records = [record(day, measured("small", "size_bytes", size)) for day, size in enumerate(sizes)]
    (series,) = history(located(*records), ["size_bytes"]).series
    assert [(change.at, change.change, change.better) for change in series.changes] == [(2, pytest.approx(0.9), True)]
    assert series.note == ""


def test_accuracies_change_by_differences():
    values = [0.90, 0.901, 0.899, 0.9, 0.9, 0.85, 0.851, 0.849, 0.85, 0.85]
    bounds = [Interval(low=v - 0.004, high=v + 0.004) for v in values]
    records = [
        record(n, measured("small", "top1", v, interval=b)) for n, (v, b) in enumerate(zip(values, bounds, strict=True))
    ]
    (series,) = history(located(*records), ["top1"]).series
    assert not series.relative
    (change,) = series.changes
    assert (change.at, change.better) == (5, False)
    assert change.change == pytest.approx(-0.05)


def test_few_points_are_shown_and_say_that_no_change_was_looked_for():
    (series,) = history(days([1.0, 2.0, 3.0]), ["latency_p50_ns"]).series
    assert series.changes == ()
    assert series.note == "detection needs at least 5 numbers, the series has 3"


def test_pairs_are_followed_like_metrics_by_student_and_teacher():
    pairs = [
        Pair(
            metric="latency_ratio",
            axes=AXES,
            value=v,
            interval=Interval(low=0.99 * v, high=1.01 * v),
            teacher="big",
            student="small",
        )
        for v in (5.0, 5.01, 4.99, 5.0, 3.0, 3.01, 2.99, 3.0)
    ]
    records = [record(day, latency(1000.0), pairs=(pair,)) for day, pair in enumerate(pairs)]
    (series,) = history(located(*records), ["latency_ratio"]).series
    assert (series.model, series.teacher) == ("small", "big")
    assert [(change.at, change.better) for change in series.changes] == [(4, False)]


def test_without_axes_the_headline_is_followed_with_axes_all_that_include_them():
    records = [record(day, latency(1.0), latency(60.0, batch=128), latency(0.5, threads=4)) for day in range(2)]
    (headline,) = history(located(*records), ["latency_p50_ns"]).series
    assert headline.axes == AXES
    (batched,) = history(located(*records), ["latency_p50_ns"], axes={"batch": 128}).series
    assert batched.points[0].value == 60.0
    assert len(history(located(*records), ["latency_p50_ns"], axes={"provider": "cpu"}).series) == 3


def test_without_a_metric_the_main_ones_that_there_are_are_shown_in_their_order():
    series = history(located(record(0, latency(1.0), measured("small", "top1", 0.5)))).series
    assert [one.metric for one in series] == [metric for metric in MAIN if metric in {"top1", "latency_p50_ns"}]


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"metrics": ["latency_p5_ns"]}, "unknown metric", "did you mean 'latency_p50_ns'"),
        ({"metrics": ["ece"]}, "no record has ece", "they have latency_p50_ns"),
        ({"models": ["smal"]}, "no record has a model 'smal'", "did you mean 'small'"),
        ({"axes": {"batch": 3}}, "at batch=3", "batch 1"),
        ({"metrics": ["latency_p50_ns"], "models": ["big"]}, "no record has latency_p50_ns of these models", "--model"),
    ],
)
def test_what_no_record_has_is_refused_with_the_nearest(options, message, hint):
    with pytest.raises(InputError, match=message) as caught:
        history(days([1.0]), **options)
    assert hint in caught.value.hint


def test_a_history_survives_its_json():
    loaded = history(days(stepping()), notes=["one"])
    assert History.model_validate_json(loaded.model_dump_json(by_alias=True)) == loaded
