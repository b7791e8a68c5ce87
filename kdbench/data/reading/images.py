"""Reading image files into one uint8 array, resizing images, and mean and standard deviation of each channel.

Headers are read first, so that memory is allocated once and mistakes are reported early. Resizing equals torchvision's
`Resize(int)` (bilinear, antialiased) and `CenterCrop` on Pillow images, bit for bit, so that a model trained elsewhere
gets the pixels it was trained on.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from kdbench.data.dataset import Images
from kdbench.data.reading.resampling import resampled
from kdbench.errors import InputError, about
from kdbench.machine.cores import available_cores
from kdbench.machine.memory import require_memory
from kdbench.results.preprocessing import Colour, Geometry

if TYPE_CHECKING:
    from PIL import Image

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})

_MAX_PIXELS = 1 << 28  # of an image while it is scaled
_SAMPLES_CHUNK = 4096  # samples converted to float64 at a time
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


def common_form(paths: Sequence[Path], geometry: Geometry, others: Sequence[Path] = ()) -> Form:
    """Return the form of the images in `geometry`, from their headers alone.

    Grey if all images are grey, else RGB. `others` are images of the set that are not read; their headers are checked
    only if all `paths` are grey. Raises InputError, with the file's name, for a file that cannot be read, that does not
    have 8 bits per channel, or whose size in `geometry` differs from the first file's.
    """
    modes, first = set(), None
    for path, (mode, height, width) in zip(paths, _in_threads(_header, paths), strict=True):
        if mode not in _GREY | _COLOUR:
            raise InputError(f"{path} has mode {mode}, not 8 bits per channel", "convert it to 8-bit grey or RGB")
        modes.add(mode)
        with about(str(path)):
            size = fitted_size(height, width, geometry)
        first = first or (path, size)
        if size != first[1]:
            sizes = ", ".join(f"{file} gives {h}×{w}" for file, (h, w) in (first, (path, size)))
            hint = "set data.resize (shorter side) and data.crop (square from the centre) to bring all to one size"
            raise InputError(f"images differ in size (height × width): {sizes}", hint)
    assert first is not None, "no images"
    if geometry.colour is None and modes <= _GREY:
        modes.update(mode for mode, _, _ in _in_threads(_header, others))
    colour = geometry.colour or ("grey" if modes <= _GREY else "RGB")
    return Form("L" if colour == "grey" else "RGB", *first[1])


def image_sizes(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """Return the height and width of each image, from its header; raises InputError naming an unreadable file."""
    return [(height, width) for _, height, width in _in_threads(_header, paths)]


def read_images(paths: Sequence[Path], form: Form, geometry: Geometry) -> Images:
    """Return the images as (N, C, H, W) uint8 in `form`; raises InputError naming a file that cannot be read."""
    _require_space((len(paths), form.channels, form.height, form.width), 1)
    result = np.empty((len(paths), form.channels, form.height, form.width), dtype=np.uint8)

    def decode(item: tuple[int, Path]) -> None:
        position, path = item
        with _opened(path) as image:
            pixels = np.asarray(fitted(image.convert(form.mode), geometry))
        result[position] = pixels.reshape(form.height, form.width, form.channels).transpose(2, 0, 1)

    list(_in_threads(decode, list(enumerate(paths))))
    return result


def _require_space(shape: tuple[int, int, int, int], item_bytes: int) -> None:
    count, _, height, width = shape
    subject = f"{count:,} images of {height}×{width} pixels"
    require_memory(math.prod(shape) * item_bytes, subject, "choose a smaller size, or fewer images")


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
    with ThreadPoolExecutor(max_workers=min(8, len(available_cores()))) as pool:
        try:
            yield from pool.map(function, items)
        finally:
            pool.shutdown(cancel_futures=True)


def fitted_size(height: int, width: int, geometry: Geometry) -> tuple[int, int]:
    """Return height and width in `geometry`; raises InputError if the crop is larger than the image."""
    height, width = scaled_size(height, width, geometry)
    if height * width > _MAX_PIXELS:
        message = f"an image would be scaled to {height}×{width} pixels (height × width)"
        raise InputError(message, "choose a smaller size, or leave out images that are very long")
    if geometry.mode == "letterbox":
        height, width = _box(geometry)
    if geometry.crop is None:
        return height, width
    if geometry.crop[0] > height or geometry.crop[1] > width:
        side = max(geometry.crop)
        crop = side if geometry.crop == (side, side) else f"{geometry.crop[0]}×{geometry.crop[1]}"
        message = f"a crop of {crop} pixels does not fit an image of {height}×{width} (height × width)"
        raise InputError(message, f"set data.resize to {side} or more")
    return geometry.crop


def fitted(image: "Image.Image", geometry: Geometry, white: float = 1) -> "Image.Image":
    """Return `image` scaled, padded and cropped to `fitted_size`; its colours stay. In floats, white is `white`.

    Resizing and cropping equal torchvision's `Resize` and `CenterCrop` on Pillow images.
    """
    from PIL import Image

    height, width = scaled_size(image.height, image.width, geometry)
    if (height, width) != (image.height, image.width):
        if geometry.antialias or geometry.interpolation == "nearest":
            image = image.resize((width, height), getattr(Image.Resampling, geometry.interpolation.upper()))
        else:
            image = Image.fromarray(resampled(np.asarray(image), height, width, geometry.interpolation))
    if geometry.mode == "letterbox":
        box = _box(geometry)
        top, left = (round((side - of) / 2 - 0.1) for side, of in zip(box, (height, width), strict=True))
        fill = geometry.fill / 255 * white if image.mode == "F" else geometry.fill
        padded = Image.new(image.mode, (box[1], box[0]), (fill,) * len(image.getbands()))
        padded.paste(image, (left, top))
        image = padded
    if geometry.crop is not None:
        height, width = geometry.crop
        top, left = round((image.height - height) / 2), round((image.width - width) / 2)
        image = image.crop((left, top, left + width, top + height))
    return image


def fit_images(images: Images, geometry: Geometry) -> Images:
    """Return (N, C, H, W) images in `geometry`; the same array if nothing changes."""
    from PIL import Image

    count, channels, *size = images.shape
    if geometry.colour is not None and channels in {1, 3} and channels != (1 if geometry.colour == "grey" else 3):
        images = _in_colours(images, geometry.colour)
        channels = images.shape[1]
    height, width = fitted_size(size[0], size[1], geometry)
    if [height, width] == size == [*scaled_size(size[0], size[1], geometry)]:
        return images
    _require_space((count, channels, height, width), images.itemsize)
    result, white = np.empty((count, channels, height, width), dtype=images.dtype), _white(images)
    for position in np.ndindex(count, channels):
        result[position] = np.asarray(fitted(Image.fromarray(images[position]), geometry, white or 1))
    if white is not None:
        np.clip(result, 0, white, out=result)  # bicubic and lanczos overshoot; Pillow limits integers itself
    return result


def _white(images: Images) -> float | None:
    """Return the largest pixel of images of floats: 1, or 255 for whole numbers; None for other numbers."""
    if images.dtype == np.uint8 or images.min() < 0 or (largest := images.max()) > 255:
        return None
    if largest <= 1:
        return 1
    return 255 if np.array_equal(images, np.rint(images)) else None


def _in_colours(images: Images, colour: Colour) -> Images:
    """Return grey images with their channel repeated, or RGB images in Pillow's grey: ITU-R 601-2 luma."""
    from PIL import Image

    if colour == "RGB":
        return np.repeat(images, 3, axis=1)
    if images.dtype != np.uint8:
        luma = np.array([0.299, 0.587, 0.114], images.dtype)
        return np.tensordot(images, luma, axes=(1, 0))[:, None]
    pixels = (Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).convert("L") for image in images)
    return np.stack([np.asarray(image)[None] for image in pixels])


def _box(geometry: Geometry) -> tuple[int, int]:
    assert isinstance(geometry.resize, tuple), geometry
    return geometry.resize


def scaled_size(height: int, width: int, geometry: Geometry) -> tuple[int, int]:
    """Return the height and width of an image after scaling, before it is padded and cropped."""
    if isinstance(geometry.resize, int):
        return _resized(height, width, geometry.resize)
    if geometry.resize is None:
        return height, width
    if geometry.mode == "squash":
        return geometry.resize
    ratio = min(geometry.resize[0] / height, geometry.resize[1] / width)
    return max(1, round(height * ratio)), max(1, round(width * ratio))


def _resized(height: int, width: int, shorter: int) -> tuple[int, int]:
    """Scale so that the shorter side is `shorter`; the longer is rounded down, as torchvision does."""
    if height <= width:
        return shorter, int(shorter * width / height)
    return int(shorter * height / width), shorter


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and population standard deviation of each channel of (N, C, H, W) uint8 images, in units of 0–1.

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


def axis_statistics(inputs: NDArray[np.floating], channel_axis: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and population standard deviation of each index of axis `channel_axis` of `inputs` (N, …).

    Sums are in float64, and squares are those of differences from the mean. A constant channel gets the deviation 1: it
    is shifted to zero and not scaled.
    """
    axes = tuple(axis for axis in range(inputs.ndim) if axis != channel_axis)
    per_channel = [1] * inputs.ndim
    per_channel[channel_axis] = -1
    chunks = [inputs[start : start + _SAMPLES_CHUNK] for start in range(0, len(inputs), _SAMPLES_CHUNK)]
    count = inputs.size // inputs.shape[channel_axis]
    mean = sum(chunk.sum(axis=axes, dtype=np.float64) for chunk in chunks) / count
    centre = mean.reshape(per_channel)
    squares = sum(((chunk.astype(np.float64) - centre) ** 2).sum(axis=axes) for chunk in chunks)
    std = np.sqrt(squares / count)
    # By minimum and maximum: the rounded mean of equal numbers may differ from the number.
    constant = inputs.min(axis=axes) == inputs.max(axis=axes)
    return tuple(mean.tolist()), tuple(np.where(constant | (std == 0), 1.0, std).tolist())
