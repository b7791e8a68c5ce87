"""Images brought to one size, and their channel statistics."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from torch.nn import functional

from kdbench.data.reading.images import channel_statistics, fit_images, fitted, fitted_size
from kdbench.errors import InputError
from kdbench.results.preprocessing import Geometry

sides = st.integers(1, 40)
maybe = st.none() | sides


def geometry(resize, crop):
    return Geometry(resize=resize, crop=None if crop is None else (crop, crop))


def noise(height, width, channels=3):
    return np.random.default_rng(height * 100 + width).integers(0, 256, (height, width, channels), dtype=np.uint8)


@settings(deadline=None)
@given(sides, sides, maybe, maybe)
def test_against_torchvision_bit_for_bit(height, width, resize, crop):
    from torchvision import transforms

    try:
        size = fitted_size(height, width, geometry(resize, crop))
    except InputError:
        assume(False)
    steps = [transforms.Resize(resize)] if resize else []
    steps += [transforms.CenterCrop(crop)] if crop else []
    expected = np.asarray(transforms.Compose(steps)(Image.fromarray(noise(height, width))))
    result = np.asarray(fitted(Image.fromarray(noise(height, width)), geometry(resize, crop)))
    assert result.shape[:2] == size
    assert np.array_equal(result, expected)


def test_arrays_as_single_images():
    images = np.stack([noise(9, 12), noise(9, 12) // 2]).transpose(0, 3, 1, 2).copy()
    result = fit_images(images, geometry(6, 5))
    assert result.shape == (2, 3, 5, 5)
    for image, small in zip(images, result, strict=True):
        expected = np.asarray(fitted(Image.fromarray(image.transpose(1, 2, 0)), geometry(6, 5)))
        assert np.array_equal(small.transpose(1, 2, 0), expected)


@pytest.mark.parametrize(("resize", "crop"), [(None, None), (8, None), (None, 8), (8, 8)])
def test_nothing_to_do_copies_nothing(resize, crop):
    images = np.zeros((2, 1, 8, 8), np.uint8)
    assert fit_images(images, geometry(resize, crop)) is images


def test_resizing_and_cropping_back_is_not_nothing():
    images = noise(8, 8, 1).transpose(2, 0, 1)[None]
    assert not np.array_equal(fit_images(images, geometry(16, 8)), images)


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(InputError, match="does not fit an image of 20×30"):
        fitted_size(20, 30, geometry(None, 24))


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


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos", "nearest"])
def test_squashing_is_torchvisions(interpolation):
    from torchvision import transforms

    image = Image.fromarray(noise(37, 61))
    mode = transforms.InterpolationMode[interpolation.upper()]
    expected = transforms.CenterCrop((20, 24))(transforms.Resize((24, 32), interpolation=mode)(image))
    form = Geometry(mode="squash", resize=(24, 32), crop=(20, 24), interpolation=interpolation)
    np.testing.assert_array_equal(np.asarray(fitted(image, form)), np.asarray(expected))


@pytest.mark.parametrize("shape", [(20, 60), (60, 20), (32, 32), (33, 32)])
def test_a_letterbox_holds_the_whole_image(shape):
    """Ultralytics' LetterBox: scaled to fit in, centred, and grey around."""
    from torchvision import transforms

    box = (32, 32)
    ratio = min(box[0] / shape[0], box[1] / shape[1])
    height, width = round(shape[0] * ratio), round(shape[1] * ratio)
    top, left = round((32 - height) / 2 - 0.1), round((32 - width) / 2 - 0.1)
    image = Image.fromarray(noise(*shape))
    result = np.asarray(fitted(image, Geometry(mode="letterbox", resize=box)))
    inside = (slice(top, top + height), slice(left, left + width))
    scaled = transforms.Resize((height, width))(image) if (height, width) != shape else image
    np.testing.assert_array_equal(result[inside], np.asarray(scaled))
    outside = np.ones(box, bool)
    outside[inside] = False
    assert (result[outside] == 114).all()


def test_grey_and_colours():
    from torchvision import transforms

    grey = np.random.default_rng(0).integers(0, 256, (3, 1, 6, 6), dtype=np.uint8)
    np.testing.assert_array_equal(fit_images(grey, Geometry(colour="RGB")), np.repeat(grey, 3, axis=1))
    colour = np.random.default_rng(0).integers(0, 256, (3, 3, 6, 6), dtype=np.uint8)
    expected = [np.asarray(transforms.Grayscale()(Image.fromarray(image.transpose(1, 2, 0)))) for image in colour]
    np.testing.assert_array_equal(fit_images(colour, Geometry(colour="grey"))[:, 0], expected)


@pytest.mark.parametrize(("level", "grey"), [(0.5, 114 / 255), (200, 114)])
def test_a_letterbox_around_floats_is_as_grey_as_around_pixels(level, grey):
    images = np.full((1, 1, 4, 8), level, np.float32)
    result = fit_images(images, Geometry(mode="letterbox", resize=(8, 8)))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[0, 0, [0, -1]], grey, rtol=1e-6)
    assert (result[0, 0, 3:5] == level).all()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("white", [1, 255])
def test_pixels_in_floats_stay_in_their_range(interpolation, white):
    images = white * (np.random.default_rng(0).random((2, 3, 8, 8)) > 0.5).astype(np.float32)
    theirs = functional.interpolate(torch.from_numpy(images), size=(20, 20), mode=interpolation, antialias=True)
    result = fit_images(images, Geometry(mode="squash", resize=(20, 20), interpolation=interpolation))
    np.testing.assert_allclose(result, theirs.clamp(0, white).numpy(), atol=1e-5 * white)
    assert (theirs.max() > white) == (interpolation == "bicubic")


def test_floats_of_another_range_are_not_cut():
    values = np.where(np.random.default_rng(0).random((1, 1, 8, 8)) > 0.5, 2.0, -2.0).astype(np.float32)
    result = fit_images(values, Geometry(mode="squash", resize=(20, 20), interpolation="bicubic"))
    assert result.max() > 2
    assert result.min() < -2


def test_sizes_that_no_memory_holds_are_refused_before_they_are_made():
    images = np.zeros((1000, 1, 8, 8), np.uint8)
    with pytest.raises(InputError, match=r"1,000 images of 16000×16000 pixels would take 256\.0 GB of memory"):
        fit_images(images, Geometry(resize=16_000))
    with pytest.raises(InputError, match="60000×60000 pixels"):
        fit_images(images, Geometry(resize=60_000, crop=(8, 8)))


def test_a_long_image_keeps_a_pixel_in_a_letterbox():
    result = fit_images(np.zeros((1, 1, 1, 1000), np.uint8), Geometry(mode="letterbox", resize=(8, 8)))
    assert result.shape == (1, 1, 8, 8)
