"""A study's numbers beside those of a run."""

import math

import numpy as np
import pytest

from kdbench.report import tables
from kdbench.report.tables.reported import reported
from kdbench.results.records import Interval, measured


def with_reported(record, *entries):
    return record.model_copy(update={"recipe": {**(record.recipe or {}), "reported": list(entries)}})


def cells(table):
    return [[getattr(cell, "with_interval", cell.text) for cell in row.cells] for row in table.rows]


def top1(record, model):
    return next(m for m in record.measurements if (m.model, m.metric, m.axes) == (model, "top1", {}))


@pytest.mark.parametrize(
    ("shift", "agrees"), [(0.0, "yes"), (0.2, "no: this run's is lower"), (-0.2, "no: this run's is higher")]
)
def test_a_number_agrees_if_our_interval_contains_it(sample, shift, agrees):
    ours = top1(sample, "student-kd")
    entry = {
        "model": "student-kd",
        "metric": "top1",
        "value": ours.value + shift,
        "source": "table 1",
        "about": "Keras",
    }
    ((model, metric, theirs, here, verdict, source),) = cells(reported(with_reported(sample, entry)))
    assert (model, metric, verdict, source) == ("student-kd", "Top-1", agrees, "table 1; Keras")
    assert theirs == f"{100 * (ours.value + shift):.2f} %"
    assert here.startswith(f"{100 * ours.value:.2f} % [")


def test_a_difference_of_one_seed_has_newcombes_interval(sample):
    entry = {"model": "student-kd", "minus": "student-alone", "metric": "top1", "value": 1.0}
    row = reported(with_reported(sample, entry)).rows[0].cells
    a, b = top1(sample, "student-kd"), top1(sample, "student-alone")
    low = a.value - b.value - math.hypot(a.value - a.interval.low, b.interval.high - b.value)
    assert row[3].value == pytest.approx(100 * (a.value - b.value))
    assert row[3].interval.low == pytest.approx(100 * low)
    assert row[0].text == "student-kd − student-alone"
    assert row[2].plain == "+1.00 points"


def test_a_difference_over_seeds_is_paired_by_seed(make_record):
    base = make_record()
    cards = {card.id: card for card in base.models}
    seeds, values = (0, 1, 2), {"student-kd": (0.90, 0.93, 0.96), "student-alone": (0.89, 0.92, 0.95)}
    models = [cards["teacher"]] + [
        cards[name].model_copy(
            update={"id": f"{name}-{seed}", "name": name, "seed": seed, "sha256": f"{position}{seed}" * 32}
        )
        for position, name in enumerate(values)
        for seed in seeds
    ]
    ms = [
        measured(f"{name}-{seed}", "top1", value, interval=Interval(low=value - 0.02, high=value + 0.02), n=360)
        for name, of in values.items()
        for seed, value in zip(seeds, of, strict=True)
    ]
    record = make_record(models=models, measurements=ms, pairs=())
    entry = {"model": "student-kd", "minus": "student-alone", "metric": "top1", "value": 1.0}
    row = reported(with_reported(record, entry)).rows[0].cells
    assert row[3].value == pytest.approx(1.0)
    half = 2 * np.sqrt(2)  # of the test samples alone: every seed gains one point, however they scatter
    assert (row[3].interval.low, row[3].interval.high) == (pytest.approx(1 - half), pytest.approx(1 + half))
    assert row[4].text == "yes"
    apart = {"student-kd": (0.9, 0.9, 0.9), "student-alone": (0.0, 0.4, 0.8)}  # 50 points on average, with t 4.3
    ms = [
        measured(f"{name}-{seed}", "top1", value)
        for name, of in apart.items()
        for seed, value in zip(seeds, of, strict=True)
    ]
    wide = reported(with_reported(make_record(models=models, measurements=ms, pairs=()), entry)).rows[0].cells[3]
    assert (wide.value, wide.interval.low, wide.interval.high) == pytest.approx((50, 50 - 4.302653 * 40 / 3**0.5, 100))


def test_a_difference_of_files_that_are_the_same_with_every_seed_has_their_intervals(make_record):
    base = make_record()
    cards, values = {card.id: card for card in base.models}, {"student-kd": 0.93, "student-alone": 0.92}
    models = [
        cards[name].model_copy(update={"id": f"{name}-{seed}", "seed": seed}) for name in values for seed in (0, 1)
    ]
    ms = [
        measured(f"{name}-{seed}", "top1", value, interval=Interval(low=value - 0.02, high=value + 0.02), n=360)
        for name, value in values.items()
        for seed in (0, 1)
    ]
    record = make_record(models=models, measurements=ms, pairs=())
    entry = {"model": "student-kd", "minus": "student-alone", "metric": "top1", "value": 1.0}
    ours = reported(with_reported(record, entry)).rows[0].cells[3]
    assert ours.value == pytest.approx(1.0)
    # As for independent numbers: the widths add as squares.
    assert (ours.interval.low, ours.interval.high) == pytest.approx((1 - 8**0.5, 1 + 8**0.5))


def test_a_model_that_was_not_run_has_no_number(sample):
    entries = [
        {"model": "gone", "metric": "top1", "value": 0.9},
        {"model": "teacher", "metric": "energy_j", "value": 1.0},
    ]
    rows = cells(reported(with_reported(sample, *entries)))
    assert [row[3][:5] for row in rows] == ["n/a (", "n/a ("]
    assert [row[4] for row in rows] == ["", ""]


def test_it_appears_only_with_reported_numbers(sample):
    entry = {"model": "teacher", "metric": "macs", "value": 1.0}
    titles = [[t.title for t in tables.build_tables(r)] for r in (sample, with_reported(sample, entry))]
    assert "Compared with the study" not in titles[0]
    assert "Compared with the study" in titles[1]
