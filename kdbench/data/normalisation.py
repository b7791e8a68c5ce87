"""Per-channel mean and standard deviation of images, computed exactly and without a second copy of them."""

import numpy as np

from kdbench.data.dataset import Images

_CHUNK = 1024  # images counted at a time: bincount widens what it is given to 64 bits


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and population standard deviation of each channel of (N, C, H, W) images, in units of 0–1.

    A channel that is the same everywhere gets the deviation 1: it is shifted to zero and not scaled.
    """
    levels = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = np.zeros(256, dtype=np.int64)
        for start in range(0, len(images), _CHUNK):
            counts += np.bincount(images[start : start + _CHUNK, channel].ravel(), minlength=256)
        mean = float(np.average(levels, weights=counts))
        constant = np.count_nonzero(counts) == 1
        means.append(mean)
        deviations.append(1.0 if constant else float(np.sqrt(np.average((levels - mean) ** 2, weights=counts))))
    return tuple(means), tuple(deviations)
