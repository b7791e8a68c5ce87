"""Mean and standard deviation of inputs that are numbers, along their channel axis."""

import numpy as np
import numpy.typing as npt

_CHUNK = 4096  # samples converted to float64 at a time


def axis_statistics(inputs: npt.NDArray[np.floating], channel_axis: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and population standard deviation of each index of axis `channel_axis` of `inputs` (N, …).

    The sums are float64, the squares taken around the mean. A constant channel gets the deviation 1: it is shifted to
    zero and not scaled.
    """
    axes = tuple(axis for axis in range(inputs.ndim) if axis != channel_axis)
    per_channel = [1] * inputs.ndim
    per_channel[channel_axis] = -1
    chunks = [inputs[start : start + _CHUNK] for start in range(0, len(inputs), _CHUNK)]
    count = inputs.size // inputs.shape[channel_axis]
    mean = sum(chunk.sum(axis=axes, dtype=np.float64) for chunk in chunks) / count
    centre = mean.reshape(per_channel)
    squares = sum(((chunk.astype(np.float64) - centre) ** 2).sum(axis=axes) for chunk in chunks)
    std = np.sqrt(squares / count)
    # By its ends: the rounded mean of equal numbers need not be the number itself.
    constant = inputs.min(axis=axes) == inputs.max(axis=axes)
    return tuple(mean.tolist()), tuple(np.where(constant | (std == 0), 1.0, std).tolist())
