"""The figure of single calls' times, and where its samples are found."""

import re

import numpy as np
import pytest

from kdbench.report import Content
from kdbench.report.figures.latency import _quantiles, latency_distribution, speedup
from kdbench.results.records import Interval

RNG = np.random.default_rng(0)
CALLS = {"teacher": 400, "student-kd": 30_000}


@pytest.fixture
def samples():
    return {f"{name}/cpu-t1-b1/ns": RNG.lognormal(12, 0.2, count).astype(np.int64) for name, count in CALLS.items()} | {
        "student-hint/cpu-t1-b1/ns": np.full(5, 231_000),
        "student-alone/cpu-t1-b128/ns": np.full(500, 10**7),
    }


def test_models_with_calls_at_the_headlines_axes_have_a_curve(sample, samples):
    drawing = latency_distribution(sample, samples)
    assert {label for label in ("teacher", "student-kd", "student-hint", "student-alone") if label in drawing.svg} == {
        "teacher",
        "student-kd",
    }
    assert "400 to 30,000 calls per model" in drawing.caption
    assert all(f">p{mark}</text>" in drawing.svg for mark in (50, 95, 99))


def test_a_curve_is_the_distribution_up_to_what_its_calls_can_tell(samples):
    for name, calls in CALLS.items():
        times = samples[f"{name}/cpu-t1-b1/ns"]
        xs, shares = _quantiles(times)
        below, within = (np.searchsorted(np.sort(times), xs, side=side) / calls for side in ("left", "right"))
        assert (below < shares + 1e-9).all()  # the empirical distribution steps through the share at that time
        assert (shares < within + 1e-9).all()
        assert shares[0] == pytest.approx(max(0.001, 1 / calls))
        assert shares[-1] == pytest.approx(1 - shares[0])


def test_a_hundred_thousand_calls_make_no_larger_figure(sample):
    sizes = [
        len(latency_distribution(sample, {"teacher/cpu-t1-b1/ns": RNG.lognormal(12, 0.2, n).astype(np.int64)}).svg)
        for n in (1_000, 100_000)
    ]
    assert sizes[1] < 1.1 * sizes[0]


def test_without_samples_there_is_no_such_figure(sample, samples):
    assert latency_distribution(sample, {}) is None
    names = [drawing.name for drawing in Content(sample, samples=samples).drawings]
    assert names.index("latency_distribution") == names.index("speedup") + 1
    assert not re.search("nan|inf", Content(sample, samples=samples).drawings[3].svg)


def test_an_interval_without_an_end_does_not_flatten_the_bars_of_the_others(sample):
    endless = Interval(low=0.001, high=300_000.0)
    ratios = [pair for pair in sample.pairs if pair.metric == "latency_ratio" and pair.value is not None]
    pairs = [pair.model_copy(update={"interval": endless}) if pair is ratios[0] else pair for pair in sample.pairs]
    drawing = speedup(sample.model_copy(update={"pairs": tuple(pairs)}))
    ticks = [float(text) for text in re.findall(r">(\d+(?:\.\d+)?)</text>", drawing.svg)]
    assert max(ticks) <= 4 * max(pair.value for pair in ratios)
