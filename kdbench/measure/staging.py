"""The files of measuring processes: images, and for each model how to feed it."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.machine.memory import require_memory
from kdbench.measure.bench_model import BenchModel, TestSet
from kdbench.modelfile.facts import ModelFacts
from kdbench.modelfile.layouts import TOKENS, fits, layout_for
from kdbench.processes import cleanup, temporary
from kdbench.results.preprocessing import Preprocessing
from kdbench.worker.jobs import JobModel, Network

_NOISE_IMAGES = 64
_NOISE_NUMBERS = 1 << 29  # of all images: large ones are fewer


@contextmanager
def scratch(workspace: Path) -> Iterator[Path]:
    """Yield an empty folder in `workspace`; after the block remove it, and `workspace` if it was made here.

    Other things in `workspace` are left alone. Raises StorageError if nothing can be written.
    """
    folder = workspace / "pass"
    is_new = folder.exists() or not workspace.exists()  # left by a killed measurement, or not there yet
    temporary.remove(folder)

    def remove() -> None:
        temporary.remove(folder)
        if is_new:
            with suppress(OSError):  # something else is in it
                workspace.rmdir()

    with cleanup.undo_at_end(remove):
        yield storage.make_folder(folder)


def stage(models: Sequence[BenchModel], test: TestSet | None, folder: Path, seed: int) -> dict[str, JobModel]:
    """Write the images to `folder` and return the models as measuring processes see them, by id.

    Without a test set the inputs are seeded noise of each model's shape. Raises InputError for a model that the images
    or the preprocessing do not fit.
    """
    if test is not None:
        arrays = {id(images): images for images in map(test.images_of, models)}
        files = {key: save_images(folder / f"images-{n}.npy", array) for n, (key, array) in enumerate(arrays.items())}
        feeds = ((model, test.images_of(model)) for model in models)
        return {model.id: _on_images(model, images, files[id(images)]) for model, images in feeds}
    return {s.id: _on_noise(s, folder, seed) for s in models}


def _on_images(model: BenchModel, images: NDArray[Any], file: Path) -> JobModel:
    if model.facts.layout == "array":
        return _on_array(model, images, file)
    channels, height, width = image = images.shape[1:]
    layout = layout_for(model.facts.input_shape, (channels, height, width), model.card.name)
    declared, pixels = model.facts.sample_shape, math.prod(image)
    flat = tuple(pixels if size is None else size for size in declared)
    shapes = {"NCHW": image, "NHWC": (height, width, channels), "flat": flat, "other": (height, width)}
    if layout == "flat" and model.facts.layout == "NHWC":  # rows of pixels whose channels are neighbours
        return _job_model(model, "NHWC", shapes["flat"], images, file)
    return _job_model(model, layout, shapes[layout], images, file)


def _on_array(model: BenchModel, inputs: NDArray[Any], file: Path) -> JobModel:
    """Return a model on samples that are no images: as the data set has them, or flattened where it takes vectors."""
    declared, size = model.facts.sample_shape, math.prod(inputs.shape[1:])
    exact = fits(declared, inputs.shape[1:])
    shape = inputs.shape[1:] if exact else tuple(size if side is None else side for side in declared)
    return _job_model(model, "array", shape, inputs, file)


def _on_noise(model: BenchModel, folder: Path, seed: int) -> JobModel:
    layout, shape = model.facts.layout, model.card.input_shape
    if not fits(model.facts.sample_shape, shape):
        shape = noise_shape(model.facts, model.card.name)
    preprocessing = model.card.preprocessing or Preprocessing()
    if model.facts.input_dtype in TOKENS or preprocessing.data_layout is not None:
        return _on_numbers(model, shape, folder, seed)
    channels, height, width = {"NCHW": shape, "NHWC": (*shape[-1:], *shape[:-1])}.get(layout, (1, 1, math.prod(shape)))
    file = folder / f"noise-{channels}x{height}x{width}.npy"
    count = _noise_images(model, shape)
    images = np.random.default_rng(seed).integers(0, 256, (count, channels, height, width), dtype=np.uint8)
    if not file.exists():
        save_images(file, images)
    return _job_model(model, layout, shape, images, file)


def _on_numbers(model: BenchModel, shape: tuple[int, ...], folder: Path, seed: int) -> JobModel:
    """Return a model on noise in place of numbers: standard normal, as normalised ones are; or random token ids."""
    rng, kind = np.random.default_rng(seed), model.facts.input_dtype
    vocabulary = (model.facts.vocabulary or 2) if kind in TOKENS else None
    if vocabulary is not None:
        inputs: NDArray[Any] = rng.integers(0, vocabulary, (_noise_images(model, shape), *shape), dtype=np.int64)
    else:
        inputs = rng.standard_normal((_noise_images(model, shape), *shape), dtype=np.float32)
    file = folder / f"noise-{vocabulary or 'normal'}-{'x'.join(map(str, shape))}.npy"
    if not file.exists():
        save_images(file, inputs)
    as_it_is = model.card.model_copy(update={"preprocessing": Preprocessing(scale=1, data_layout="array")})
    return _job_model(replace(model, card=as_it_is), "array", shape, inputs, file)


def _noise_images(model: BenchModel, shape: tuple[int, ...]) -> int:
    """Return how many samples of noise to make; raises InputError if those of one call do not fit in memory."""
    numbers, batch = math.prod(shape), model.facts.fixed_batch or 1
    subject = f"{model.card.name}: inputs of {'x'.join(map(str, (batch, *shape)))}"
    require_memory(8 * batch * numbers, subject, "give a smaller --size, or export it for smaller inputs")
    return max(1, min(_NOISE_IMAGES, _NOISE_NUMBERS // max(1, numbers)))


def noise_shape(facts: ModelFacts, name: str, size: tuple[int, int] | None = None) -> tuple[int, ...]:
    """Return the shape of a sample of noise for a model, in its own layout; `size` fills an open height and width.

    An open number of channels is 3. Raises InputError, with the `name`, where the size stays open.
    """
    declared = facts.sample_shape
    channels = {"NCHW": 0, "NHWC": 2}.get(facts.layout)
    if channels is None and None in declared:
        hint = "give it real data with --data, or export it with a size"
        raise InputError(f"{name} leaves its input size open", hint)
    if facts.open_sides and size is None:
        raise InputError(f"{name} leaves height and width open", "give them with --size, such as --size 224")
    sides = iter(size or (0, 0))
    defaults = [3 if axis == channels else next(sides, 0) for axis in range(len(declared))]
    return tuple(d if s is None else s for s, d in zip(declared, defaults, strict=True))


def _job_model(model: BenchModel, layout: str, shape: tuple[int, ...], images: NDArray[Any], file: Path) -> JobModel:
    facts, preprocessing = model.facts, model.card.preprocessing or Preprocessing()
    channels = images.shape[preprocessing.channel_axis if layout == "array" else 1]
    if images.dtype == np.int64:
        preprocessing = Preprocessing(scale=1, data_layout="tokens")
    _require_numbers(model, preprocessing, images)
    if layout not in {"NCHW", "NHWC"} and len(preprocessing.mean) > 1 and channels == 1:
        preprocessing = Preprocessing(scale=preprocessing.scale)  # noise has no channels to normalise one by one
    if (n := len(preprocessing.mean)) not in {1, channels}:
        message = f"{model.card.name}: {n} means and standard deviations for {channels} channels"
        hint = f"give one, or {channels}"
        if images.shape[1:3] == (1, 1) and n == images.shape[3]:
            hint = "rows of numbers that are not pixels need --data-layout vectors"
        raise InputError(message, hint)
    if layout == "array" and n == 1:
        preprocessing = preprocessing.model_copy(update={"channel_axis": 1})
    quantization = None
    if facts.input_dtype in {"uint8", "int8"}:
        quantization = _quantization(model, preprocessing, images)
    return JobModel(
        id=model.id,
        path=str(model.path),
        input=facts.input_name,
        output=facts.output.name,
        form=facts.output.form,
        output_scale=facts.output.quantization,
        dtype=facts.input_dtype,
        layout=layout,
        shape=shape,
        fixed_batch=facts.fixed_batch,
        images=str(file),
        scale=_divisor(model, preprocessing, images),
        mean=preprocessing.mean,
        std=preprocessing.std,
        channel_order=preprocessing.channel_order,
        quantization=quantization,
        network=model.network if isinstance(model.network, Network) else None,
        channel_axis=preprocessing.channel_axis,
    )


def _require_numbers(model: BenchModel, preprocessing: Preprocessing, images: NDArray[Any]) -> None:
    """Raise InputError for pixels where a model was trained on numbers, whose scale is not that of pixels."""
    of_card = preprocessing.sources.get("scale", "its card") == "its card"
    if preprocessing.data_layout is not None and images.dtype == np.uint8 and of_card:
        message = f"{model.card.name} was trained on numbers as its data set holds them, and this data holds uint8"
        hint = f"choose the data that it was trained on; --scale {model.id}=255 divides pixels by 255"
        raise InputError(message, hint)


def _divisor(model: BenchModel, preprocessing: Preprocessing, images: NDArray[Any]) -> float:
    """Return what stored pixels are divided by: `scale` is for pixels from 0 to 255, and floats go from 0 to 1.

    Floats of another range are what the model takes, or need a scale. Raises InputError where no source defines one.
    """
    if images.dtype == np.uint8 or preprocessing.data_layout is not None:
        return preprocessing.scale
    low, high = float(images.min()), float(images.max())
    if low >= 0 and high <= 1:
        return preprocessing.scale / 255
    if "scale" not in preprocessing.sources:
        message = (
            f"{model.card.name}: the data holds floats from {low:g} to {high:g}, and no source defines their scaling"
        )
        raise InputError(message, "--scale 1 leaves them unchanged, --scale 255 divides them by 255")
    return preprocessing.scale


def _quantization(model: BenchModel, preprocessing: Preprocessing, images: NDArray[Any]) -> tuple[float, int] | None:
    """Return scale and zero point of an integer input; None if it takes the pixels as they are."""
    if preprocessing.input_scale is not None:
        return preprocessing.input_scale, preprocessing.input_zero_point
    dtype, hint = model.facts.input_dtype, "give its scale and zero point: --input-scale, --input-zero-point"
    if (set(preprocessing.mean), set(preprocessing.std)) != ({0.0}, {1.0}):
        message = f"{model.card.name} takes {dtype} pixels, which cannot be normalised"
        as_pixels = f"--mean {model.id}=0 --std {model.id}=1 feed pixels as they are; if it takes normalised values"
        raise InputError(message, f"{as_pixels}, {hint}")
    if dtype == "uint8" and images.dtype != np.uint8 and images.min() >= 0 and images.max() <= 1:
        return 1 / preprocessing.scale, 0  # back to the pixels that such floats stand for
    if dtype == "int8" or images.dtype != np.uint8:
        raise InputError(f"{model.card.name} takes {dtype} inputs, but the pixels are {images.dtype}", hint)
    return None


def null_model(folder: Path) -> JobModel:
    """Write a model that computes nothing: calling it shows what a call costs on this machine."""
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 1, 1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "null", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = folder / "null.onnx"
    with storage.writing(path) as stream:
        stream.write(model.SerializeToString())
    network = Network("torch.nn:Identity")
    return JobModel("(null graph)", str(path), "x", "y", "float32", "NCHW", (1, 1, 1), fixed_batch=1, network=network)


def save_images(path: Path, images: NDArray[Any]) -> Path:
    """Write images to a .npy file and return its path."""
    with storage.writing(path) as stream:
        np.save(stream, images)
    return path
