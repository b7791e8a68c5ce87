"""The figure of single calls' times, and where its samples are found."""

import re

import numpy as np
import pytest

from kdbench.errors import InputError
from kdbench.measure.latency.configurations import Configuration
from kdbench.report import Content
from kdbench.report.content import read_samples
from kdbench.report.figures.distribution import _quantiles, latency_distribution
from kdbench.results.samples import configuration_key

RNG = np.random.default_rng(0)
CALLS = {"teacher": 400, "student-kd": 30_000}


@pytest.fixture
def samples():
    return {f"{name}/cpu-t1-b1/ns": RNG.lognormal(12, 0.2, count).astype(np.int64) for name, count in CALLS.items()} | {
        "student-hint/cpu-t1-b1/ns": np.full(5, 231_000),
        "student-alone/cpu-t1-b128/ns": np.full(500, 10**7),
    }


@pytest.mark.parametrize(
    "configuration",
    [
        Configuration(1, 1, (), 1.0),
        Configuration(4, 128, (), 1.0, runtime="torch"),
        Configuration(2, 1, (), 1.0, mode="paced", gap_ms=20),
        Configuration(2, 1, (), 1.0, mode="server", rate_per_s=50, runtime="torch"),
    ],
)
def test_samples_are_found_by_the_axes_that_the_record_tells(configuration):
    assert configuration_key(configuration.axes("cpu")) == configuration.key("cpu")


def test_models_with_calls_at_the_headlines_axes_have_a_curve(sample, samples):
    drawing = latency_distribution(sample, samples)
    assert {label for label in ("teacher", "student-kd", "student-hint", "student-alone") if label in drawing.svg} == {
        "teacher",
        "student-kd",
    }
    assert "400 to 30,000 calls a model" in drawing.caption
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


def test_a_damaged_array_is_the_users_to_know_and_the_others_are_read(tmp_path):
    path = tmp_path / "samples.npz"
    times = RNG.integers(1, 10**9, 5000)
    np.savez_compressed(path, good=times, bad=times)
    data = bytearray(path.read_bytes())
    data[-3000:-2000] = bytes(1000)
    path.write_bytes(data)
    samples = read_samples(tmp_path)
    assert list(samples) == ["good", "bad"]
    assert (samples["good"] == times).all()
    with pytest.raises(InputError, match=r"samples\.npz is not a readable archive"):
        samples["bad"]
    with pytest.raises(KeyError):
        samples["absent"]
