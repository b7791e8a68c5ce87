"""Image files as one uint8 array, images brought to one size, and their per-channel mean and standard deviation.

Headers are read first, so that memory is allocated once and mistakes are reported early. Resizing is torchvision's
`Resize(int)` (bilinear, antialiased) and `CenterCrop` on Pillow images, bit for bit, so that a model trained elsewhere
sees the pixels it was trained on.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from kdbench.data.dataset import Images
from kdbench.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})

_CHUNK = 1024  # images counted at a time: bincount converts its input to 64 bits
_GREY = frozenset({"1", "L"})
_COLOUR = frozenset({"RGB", "RGBA", "P", "PA", "LA", "La", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"})

Item = TypeVar("Item")
Result = TypeVar("Result")


class Form(NamedTuple):
    """The common form of all images of a set: Pillow's mode (`L` grey, `RGB`), height and width in pixels."""

    mode: str
    height: int
    width: int

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return len(self.mode)


def common_form(paths: Sequence[Path], resize: int | None, crop: int | None) -> Form:
    """Return the form of the images after `resize` and `crop`, from their headers alone.

    Grey if all are grey, else RGB. Raises InputError naming a file that cannot be read, has a depth other than 8 bits,
    or ends up with a size other than the first file's.
    """
    modes, first = set(), None
    for path, (mode, height, width) in zip(paths, _in_threads(_header, paths), strict=True):
        if mode not in _GREY | _COLOUR:
            raise InputError(f"{path} has mode {mode}, not 8 bits a channel", "convert it to 8-bit grey or RGB")
        modes.add(mode)
        try:
            size = fitted_size(height, width, resize, crop)
        except InputError as error:
            raise InputError(f"{path}: {error.message}", error.hint) from error
        first = first or (path, size)
        if size != first[1]:
            sizes = ", ".join(f"{file} gives {h}×{w}" for file, (h, w) in (first, (path, size)))
            hint = "set data.resize (shorter side) and data.crop (square from the centre) to bring all to one size"
            raise InputError(f"images differ in size (height × width): {sizes}", hint)
    assert first is not None, "no images"
    return Form("L" if modes <= _GREY else "RGB", *first[1])


def read_images(paths: Sequence[Path], form: Form, resize: int | None, crop: int | None) -> Images:
    """Return the images as (N, C, H, W) uint8 in `form`; raises InputError naming a file that cannot be read."""
    result = np.empty((len(paths), form.channels, form.height, form.width), dtype=np.uint8)

    def decode(item: tuple[int, Path]) -> None:
        position, path = item
        with _opened(path) as image:
            pixels = np.asarray(fitted(image.convert(form.mode), resize, crop))
        result[position] = pixels.reshape(form.height, form.width, form.channels).transpose(2, 0, 1)

    list(_in_threads(decode, list(enumerate(paths))))
    return result


def _header(path: Path) -> tuple[str, int, int]:
    with _opened(path) as image:
        return image.mode, image.height, image.width


@contextmanager
def _opened(path: Path) -> Iterator["Image.Image"]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            yield image
    # Pillow's decoders raise these on damaged files (UnidentifiedImageError is an OSError; PNG's is a SyntaxError).
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is not a readable image: {error}", "replace or remove it") from error


def _in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Apply `function` on threads, results in order: Pillow decodes without holding the interpreter's lock."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        try:
            yield from pool.map(function, items)
        finally:
            pool.shutdown(cancel_futures=True)


def fitted_size(height: int, width: int, resize: int | None, crop: int | None) -> tuple[int, int]:
    """Return height and width after `resize` and `crop`; raises InputError if the crop is larger than the image."""
    if resize is not None:
        height, width = _resized(height, width, resize)
    if crop is None:
        return height, width
    if crop > min(height, width):
        message = f"a crop of {crop} pixels does not fit an image of {height}×{width} (height × width)"
        raise InputError(message, f"set data.resize to {crop} or more")
    return crop, crop


def fitted(image: "Image.Image", resize: int | None, crop: int | None) -> "Image.Image":
    """Return `image` resized and cropped to `fitted_size` of its size."""
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
    """Return (N, C, H, W) images resized and cropped; the same array if nothing changes."""
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


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and population standard deviation of each channel of (N, C, H, W) images, in units of 0–1.

    A constant channel gets the deviation 1: it is shifted to zero and not scaled.
    """
    levels = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(images.shape[1]):
        chunks = (images[start : start + _CHUNK, channel] for start in range(0, len(images), _CHUNK))
        counts = sum(np.bincount(chunk.ravel(), minlength=256) for chunk in chunks)
        means.append(float(np.average(levels, weights=counts)))
        deviation = float(np.sqrt(np.average((levels - means[-1]) ** 2, weights=counts)))
        deviations.append(1.0 if np.count_nonzero(counts) == 1 else deviation)
    return tuple(means), tuple(deviations)
