"""Bringing images to one size: the shorter side resized, then a square cut from the centre.

The arithmetic is torchvision's `Resize(int)` (bilinear, antialiased) and `CenterCrop` on Pillow images, bit for
bit, so that a model trained elsewhere sees the pixels it was trained on.
"""

from typing import TYPE_CHECKING

import numpy as np

from kdbench.data.dataset import Images
from kdbench.errors import InputError

if TYPE_CHECKING:
    from PIL import Image


def fitted_size(height: int, width: int, resize: int | None, crop: int | None) -> tuple[int, int]:
    """Return height and width after `resize` and `crop`; raises InputError where the crop is larger than the image."""
    if resize is not None:
        height, width = _resized(height, width, resize)
    if crop is None:
        return height, width
    if crop > min(height, width):
        raise InputError(
            f"a crop of {crop} pixels does not fit an image of {height}×{width} (height × width)",
            f"set data.resize to {crop} or more",
        )
    return crop, crop


def fitted(image: "Image.Image", resize: int | None, crop: int | None) -> "Image.Image":
    """Return `image` resized and cropped; the size is `fitted_size` of its own."""
    from PIL import Image

    if resize is not None:
        height, width = _resized(image.height, image.width, resize)
        if (height, width) != (image.height, image.width):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
    if crop is not None:
        top, left = round((image.height - crop) / 2), round((image.width - crop) / 2)
        image = image.crop((left, top, left + crop, top + crop))
    return image


def fit_images(images: Images, resize: int | None, crop: int | None) -> Images:
    """Return (N, C, H, W) images resized and cropped; the same array when there is nothing to do."""
    from PIL import Image

    count, channels, *size = images.shape
    height, width = fitted_size(size[0], size[1], resize, crop)
    if [height, width] == size and resize in {None, min(size)}:
        return images
    result = np.empty((count, channels, height, width), dtype=np.uint8)
    for position in np.ndindex(count, channels):
        result[position] = np.asarray(fitted(Image.fromarray(images[position]), resize, crop))
    return result


def _resized(height: int, width: int, shorter: int) -> tuple[int, int]:
    """Scale so that the shorter side is `shorter`; the longer is rounded down, as torchvision does."""
    if height <= width:
        return shorter, int(shorter * width / height)
    return int(shorter * height / width), shorter
