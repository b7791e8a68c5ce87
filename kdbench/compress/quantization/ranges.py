"""Calibrators, which choose the range of an activation that its 8-bit integers cover.

onnxruntime's own entropy calibrator has as many bins as levels, so that it always returns the whole range, and it has
no calibrator by mean squared error. These work on a finer histogram of each tensor. Zero is not part of it, because
every range contains zero and represents it exactly.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.compress.activations import Activations
from kdbench.errors import InputError

Range = tuple[float, float]
Floats = NDArray[np.float64]

BINS = 2048  # on each side of zero
LEVELS = 256
MAGNITUDES = 128  # levels of one side of a signed integer
PERCENTILE = 99.99
_STEP = 8  # bins between two thresholds that entropy compares
_NEGLIGIBLE = 2.0**-24  # of the largest magnitude: zero in float32 beside it, such as the softmax of a masked score
_SHARES = np.linspace(0.2, 1, 81)  # of an end of the whole range, that the squared error compares


@dataclass(frozen=True, eq=False)
class Histogram:
    """The values of a tensor other than zero: `counts` in 2 · BINS bins of equal width from −`limit` to `limit`.

    `low` and `high` are the extreme values, `limit` the larger magnitude, `zeros` the number of zeros, exact or
    negligible beside the limit.
    """

    low: float
    high: float
    counts: NDArray[np.int64]
    zeros: int = 0

    @property
    def limit(self) -> float:
        """The largest magnitude."""
        return max(-self.low, self.high)

    @property
    def centres(self) -> Floats:
        """The value at the middle of each bin."""
        return np.asarray((np.arange(2 * BINS) - BINS + 0.5) * (self.limit / BINS), np.float64)

    def adding(self, values: NDArray[np.float32]) -> "Histogram":
        """Return the histogram with further values of the tensor, all between −`limit` and `limit`."""
        flat = values.ravel()
        flat = flat[np.abs(flat) > self.limit * _NEGLIGIBLE]
        zeros = self.zeros + values.size - flat.size
        if not flat.size:
            return replace(self, zeros=zeros)
        places = np.floor(flat * np.float64(BINS / self.limit)).astype(np.int64) + BINS
        counts = np.bincount(np.clip(places, 0, 2 * BINS - 1), minlength=2 * BINS)
        return replace(self, counts=self.counts + counts, zeros=zeros)


Calibrator = Callable[[Histogram], Range]


def min_max(histogram: Histogram) -> Range:
    """Return the whole range."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram, percent: float = PERCENTILE) -> Range:
    """Return the range between the two percentiles, so that 100 − `percent` % of the values lie beyond each end."""
    by_side = np.concatenate([histogram.counts[:BINS], [histogram.zeros], histogram.counts[BINS:]])
    beyond = by_side.sum() * (1 - percent / 100)
    edges = np.concatenate([np.arange(-BINS, 1), np.arange(BINS + 1)]) * (histogram.limit / BINS)
    below = np.concatenate([[0], np.cumsum(by_side)])
    low, high = np.interp([beyond, below[-1] - beyond], below, edges)
    return _within(histogram, float(low), float(high))


def entropy(histogram: Histogram, levels: int = MAGNITUDES) -> Range:
    """Return the threshold on magnitudes with the smallest loss of information, as Kullback–Leibler divergence.

    After Migacz, "8-bit inference with TensorRT" (GTC 2017): for each threshold, values beyond it count in its last
    bin, and the bins are merged into `levels` levels, each spread evenly over its non-empty bins.
    """
    magnitudes = (histogram.counts[BINS:] + histogram.counts[:BINS][::-1]).astype(np.float64)
    thresholds = range(levels, BINS + 1, _STEP)
    best = min(thresholds, key=lambda bins: (_divergence(magnitudes, bins, levels), -bins))
    threshold = best * histogram.limit / BINS
    return _within(histogram, -threshold, threshold)


def _divergence(magnitudes: Floats, bins: int, levels: int) -> float:
    """Return the divergence of the quantized distribution from the true one, both cut off after `bins`."""
    kept = magnitudes[:bins]
    true = kept.copy()
    true[-1] += magnitudes[bins:].sum()
    level = np.arange(bins) * levels // bins
    filled = kept > 0
    merged = np.bincount(level, kept, minlength=levels)
    sharers = np.bincount(level[filled], minlength=levels)
    spread = np.where(filled, merged[level] / np.maximum(sharers[level], 1), 0.0)
    if not spread.any() or (true[~filled] > 0).any():
        return float("inf")
    p, q = true[filled] / true.sum(), spread[filled] / spread.sum()
    return float(np.sum(p * np.log(p / q)))


def mean_squared_error(histogram: Histogram, levels: int = LEVELS) -> Range:
    """Return the range with the smallest mean squared error of the tensor's values, one end after the other."""
    lows, highs = _SHARES * min(histogram.low, 0.0), _SHARES * max(histogram.high, 0.0)
    low, high = lows[-1], highs[-1]
    for _ in range(2):
        high = min(highs, key=lambda end: _error(histogram, low, end, levels))
        low = min(lows, key=lambda end: _error(histogram, end, high, levels))
    return float(low), float(high)


def _error(histogram: Histogram, low: float, high: float, levels: int) -> float:
    """Return the squared error of the histogram's values in `levels` levels from `low` to `high`."""
    if high <= low:
        return float("inf")
    scale = (high - low) / (levels - 1)
    zero = np.rint(-low / scale)
    held = np.flatnonzero(histogram.counts)
    values = histogram.centres[held]
    quantized = (np.clip(np.rint(values / scale) + zero, 0, levels - 1) - zero) * scale
    return float(np.sum(histogram.counts[held] * (quantized - values) ** 2))


def _within(histogram: Histogram, low: float, high: float) -> Range:
    return max(histogram.low, low), min(histogram.high, high)


CALIBRATORS: Mapping[str, Calibrator] = {
    "min-max": min_max,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mean_squared_error,
}


def extremes_of(observe: Callable[[], Iterable[Activations]]) -> dict[str, Range]:
    """Return the least and the largest value of each tensor by name, NaN and infinities included."""
    extremes: dict[str, Range] = {}
    for values in observe():
        for name, tensor in values.items():
            if tensor.size:
                low, high = extremes.get(name, (np.inf, -np.inf))
                extremes[name] = float(np.minimum(low, tensor.min())), float(np.maximum(high, tensor.max()))
    return extremes


def require_finite(extremes: Mapping[str, Range]) -> None:
    """Raise InputError for tensors whose values are not all finite."""
    for name, ends in extremes.items():
        if not np.isfinite(ends).all():
            message = f"the activation {name!r} is not finite on the calibration inputs"
            masked = ends[0] == -np.inf and ends[1] < np.inf
            hint = "if -inf is a mask, choose int8-dynamic; else " if masked else ""
            raise InputError(message, f"{hint}check the preprocessing of the inputs: --scale, --mean, --std")


def ranges_of(
    observe: Callable[[], Iterable[Activations]], calibrator: str, extremes: Mapping[str, Range]
) -> dict[str, Range]:
    """Return the range of each tensor of `extremes`, by name, sorted; each call of `observe` yields all batches.

    `extremes` are finite: the least and the largest value of each tensor.
    """
    if calibrator == "min-max":
        return dict(sorted(extremes.items()))
    empty: Any = np.zeros(2 * BINS, np.int64)
    histograms = {name: Histogram(low, high, empty) for name, (low, high) in extremes.items()}
    for values in observe():
        for name, tensor in values.items():
            if tensor.size and name in histograms and histograms[name].limit > 0:
                histograms[name] = histograms[name].adding(tensor)
    chosen = CALIBRATORS[calibrator]
    return {name: chosen(h) if h.limit > 0 else (0.0, 0.0) for name, h in sorted(histograms.items())}
