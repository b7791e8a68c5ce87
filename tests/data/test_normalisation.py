import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from kdbench.data.normalisation import channel_statistics


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=4, max_dims=4, max_side=6)))
def test_against_numpy_in_double_precision(images):
    mean, std = channel_statistics(images)
    scaled = images.astype(np.float64) / 255
    assert mean == pytest.approx(scaled.mean(axis=(0, 2, 3)), abs=1e-12)
    for channel, value in enumerate(std):
        expected = scaled[:, channel].std() if np.ptp(images[:, channel]) else 1.0
        assert value == pytest.approx(expected, abs=1e-9)


def test_more_images_than_are_counted_at_a_time():
    images = np.random.default_rng(0).integers(0, 256, (2500, 2, 2, 2), dtype=np.uint8)
    mean, std = channel_statistics(images)
    assert mean == pytest.approx((images / 255).mean(axis=(0, 2, 3)))
    assert std == pytest.approx((images / 255).std(axis=(0, 2, 3)))
