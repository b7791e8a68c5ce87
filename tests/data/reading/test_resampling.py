"""Interpolation without smoothing against PyTorch's, whose formulas it uses."""

import numpy as np
import pytest
import torch

from kdbench.data.reading.resampling import resampled
from kdbench.errors import InputError


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(8, 8), (7, 20), (33, 19), (3, 5)])
def test_against_torch(interpolation, size):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)
    batch = torch.from_numpy(pixels.transpose(2, 0, 1))[None]
    expected = torch.nn.functional.interpolate(batch.double(), size, mode=interpolation, align_corners=False)[0]
    result = resampled(pixels.astype(np.float64), *size, interpolation)
    np.testing.assert_allclose(result.transpose(2, 0, 1), expected.numpy(), atol=1e-9)
    rounded = expected.round().clamp(0, 255).numpy().astype(np.uint8)
    whole = resampled(pixels, *size, interpolation).transpose(2, 0, 1)
    assert np.abs(whole.astype(int) - rounded).max() <= 1  # a half may be rounded either way


def test_other_filters_always_smooth():
    with pytest.raises(InputError, match="lanczos"):
        resampled(np.zeros((8, 8), np.uint8), 4, 4, "lanczos")
