import numpy as np
import pytest
from scipy import stats

from kdbench.compress.quantization.ranges import (
    BINS,
    CALIBRATORS,
    Histogram,
    entropy,
    extremes_of,
    mean_squared_error,
    percentile,
    ranges_of,
    require_finite,
)
from kdbench.errors import InputError


def histogram(values):
    values = np.asarray(values, np.float32)
    empty = Histogram(float(values.min()), float(values.max()), np.zeros(2 * BINS, np.int64))
    return empty.adding(values[: len(values) // 3]).adding(values[len(values) // 3 :])


def error(values, low, high):
    """Quantize the values themselves, as QuantizeLinear does, and return the squared error."""
    scale = (high - low) / 255
    zero = np.rint(-low / scale)
    return float(np.sum(((np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale - values) ** 2))


def gaussian(outlier=1.0):
    values = np.random.default_rng(0).standard_normal(20_000)
    return np.append(values, [outlier * values.max(), outlier * values.min()])


@pytest.mark.parametrize("kept", [lambda v: v, lambda v: np.maximum(v, 0), lambda v: np.minimum(v, 0)])
def test_a_histogram_counts_every_value_on_either_side_of_zero(kept):
    values = kept(gaussian())
    counted = histogram(values)
    assert counted.counts.sum() + counted.zeros == len(values)
    assert counted.zeros == np.sum(values == 0)
    assert counted.counts[:BINS].sum() == np.sum(values < 0)
    assert counted.centres @ counted.counts == pytest.approx(values.sum(), abs=1e-3 * np.abs(values).sum())


@pytest.mark.parametrize("values", [gaussian(3), np.maximum(gaussian(3), 0), np.minimum(gaussian(3), 0) - 0.5])
def test_percentiles_are_those_of_the_values(values):
    low, high = percentile(histogram(values), 99.9)
    width = np.abs(values).max() / BINS
    assert (low, high) == pytest.approx(tuple(np.percentile(values, [0.1, 99.9])), abs=3 * width)


@pytest.mark.parametrize("values", [gaussian(4), np.maximum(gaussian(4), 0), gaussian() ** 3])
def test_the_squared_error_is_within_two_percent_of_the_best_range(values):
    low, high = mean_squared_error(histogram(values))
    ends = np.linspace(0.1, 1, 46)
    best = min(
        error(values, a * min(values.min(), 0), b * max(values.max(), 0))
        for a in (ends if values.min() < 0 else [0])
        for b in ends
    )
    assert error(values, low, high) <= 1.02 * best
    assert best < error(values, min(values.min(), 0), values.max())


def divergences(values, levels=128):
    """Compute the divergence of each threshold as Migacz's slides state it, level by level."""
    counts = np.histogram(np.abs(values[values != 0]), bins=BINS, range=(0, np.abs(values).max()))[0].astype(float)
    for bins in range(levels, BINS + 1, 8):
        true = np.append(counts[: bins - 1], counts[bins - 1 :].sum())
        spread = np.zeros(bins)
        of_level = [np.flatnonzero(np.arange(bins) * levels // bins == level) for level in range(levels)]
        for members in of_level:
            held = members[counts[members] > 0]
            spread[held] = counts[held].sum() / max(len(held), 1)
        yield bins, np.inf if (true[spread == 0] > 0).any() else stats.entropy(true, spread)


def test_entropy_is_the_threshold_of_the_least_divergence_and_clips_outliers():
    values = gaussian(6)
    low, high = entropy(histogram(values))
    best = min(divergences(values.astype(np.float32)), key=lambda pair: pair[1])[0]
    assert high == pytest.approx(best * np.abs(values).max() / BINS)
    assert low == -high
    assert high < 0.5 * values.max()


@pytest.mark.parametrize("name", ["entropy", "mse"])
def test_zeros_which_every_range_holds_change_nothing(name):
    values = np.abs(gaussian(2)) + 1e-3
    with_zeros = np.concatenate([np.zeros(9 * len(values)), values])
    assert CALIBRATORS[name](histogram(with_zeros))[1] == CALIBRATORS[name](histogram(values))[1]


@pytest.mark.parametrize("name", CALIBRATORS)
def test_every_calibrator_stays_within_the_values_and_takes_constants(name):
    batches = [{"a": gaussian().astype(np.float32), "zero": np.zeros(3, np.float32)}, {"a": np.float32([[0.5]])}]
    ranges = ranges_of(lambda: batches, name, extremes_of(lambda: batches))
    assert list(ranges) == ["a", "zero"]
    assert batches[0]["a"].min() <= ranges["a"][0] < 0 < ranges["a"][1] <= batches[0]["a"].max()
    assert ranges["zero"] == (0, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_activations_that_are_not_finite_are_refused(value):
    batches = [{"a": np.float32([1, 2])}, {"a": np.float32([1, value])}]
    with pytest.raises(InputError, match="'a' is not finite") as refused:
        require_finite(extremes_of(lambda: batches))
    assert "int8-dynamic" not in refused.value.hint
