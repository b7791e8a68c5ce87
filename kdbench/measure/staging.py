"""The inputs of measuring processes: files of samples, and how each model's inputs are made from them."""

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
from kdbench.results.preprocessing import GRAPH, Preprocessing
from kdbench.worker.jobs import JobModel, Network

_NOISE_SAMPLES = 64
_DARKEST = 1 / 8  # of the range of pixels: no data set is darker
_MAX_NOISE_VALUES = 1 << 29  # of all samples together: a model with large samples gets fewer


@contextmanager
def scratch(workspace: Path) -> Iterator[Path]:
    """Yield an empty folder in `workspace`; after the block remove it, and `workspace` too unless it existed before.

    Other files in `workspace` stay. Raises StorageError if the folder cannot be made.
    """
    folder = workspace / "pass"
    removes_workspace = folder.exists() or not workspace.exists()  # it is new, or a killed measurement left both
    temporary.remove(folder)

    def remove() -> None:
        temporary.remove(folder)
        if removes_workspace:
            with suppress(OSError):  # it contains other files
                workspace.rmdir()

    with cleanup.undo_at_end(remove):
        yield storage.make_folder(folder)


def stage(models: Sequence[BenchModel], test: TestSet | None, folder: Path, seed: int) -> dict[str, JobModel]:
    """Write the samples to `folder` and return the models as measuring processes need them, by id.

    Without a test set the samples are seeded noise of each model's shape. Raises InputError if the samples or the
    preprocessing do not fit a model.
    """
    if test is None:
        return {model.id: _noise_job(model, folder, seed) for model in models}
    arrays = {id(samples): samples for samples in map(test.images_of, models)}
    files = {key: save_images(folder / f"images-{n}.npy", array) for n, (key, array) in enumerate(arrays.items())}
    inputs = ((model, test.images_of(model)) for model in models)
    return {model.id: _image_job(model, samples, files[id(samples)]) for model, samples in inputs}


def _image_job(model: BenchModel, images: NDArray[Any], file: Path) -> JobModel:
    if model.facts.layout == "array":
        return _array_job(model, images, file)
    channels, height, width = image = images.shape[1:]
    layout = layout_for(model.facts.input_shape, (channels, height, width), model.card.name)
    declared, pixels = model.facts.sample_shape, math.prod(image)
    flat = tuple(pixels if size is None else size for size in declared)
    shapes = {"NCHW": image, "NHWC": (height, width, channels), "flat": flat, "other": (height, width)}
    if layout == "flat" and model.facts.layout == "NHWC":  # flattened, with the channels of a pixel side by side
        return _job_model(model, "NHWC", shapes["flat"], images, file)
    return _job_model(model, layout, shapes[layout], images, file)


def _array_job(model: BenchModel, inputs: NDArray[Any], file: Path) -> JobModel:
    """Return a model with samples that are not images, in the data set's shape, or flattened if it takes vectors."""
    declared, size = model.facts.sample_shape, math.prod(inputs.shape[1:])
    exact = fits(declared, inputs.shape[1:])
    shape = inputs.shape[1:] if exact else tuple(size if side is None else side for side in declared)
    return _job_model(model, "array", shape, inputs, file)


def _noise_job(model: BenchModel, folder: Path, seed: int) -> JobModel:
    layout, shape = model.facts.layout, model.card.input_shape
    if not fits(model.facts.sample_shape, shape):
        shape = noise_shape(model.facts, model.card.name)
    preprocessing = model.card.preprocessing or Preprocessing()
    if model.facts.input_dtype in TOKENS or preprocessing.data_layout is not None:
        return _number_noise_job(model, shape, folder, seed)
    channels, height, width = {"NCHW": shape, "NHWC": (*shape[-1:], *shape[:-1])}.get(layout, (1, 1, math.prod(shape)))
    file = folder / f"noise-{channels}x{height}x{width}.npy"
    count = _noise_samples(model, shape)
    images = np.random.default_rng(seed).integers(0, 256, (count, channels, height, width), dtype=np.uint8)
    if not file.exists():
        save_images(file, images)
    return _job_model(model, layout, shape, images, file)


def _number_noise_job(model: BenchModel, shape: tuple[int, ...], folder: Path, seed: int) -> JobModel:
    """Return a model that takes numbers or tokens, with standard normal noise or random token ids."""
    rng, dtype = np.random.default_rng(seed), model.facts.input_dtype
    vocabulary = (model.facts.vocabulary or 2) if dtype in TOKENS else None
    if vocabulary is not None:
        inputs: NDArray[Any] = rng.integers(0, vocabulary, (_noise_samples(model, shape), *shape), dtype=np.int64)
    else:
        inputs = rng.standard_normal((_noise_samples(model, shape), *shape), dtype=np.float32)
    file = folder / f"noise-{vocabulary or 'normal'}-{'x'.join(map(str, shape))}.npy"
    if not file.exists():
        save_images(file, inputs)
    # The noise has the range of normalised numbers already.
    card = model.card.model_copy(update={"preprocessing": Preprocessing(scale=1, data_layout="array")})
    return _job_model(replace(model, card=card), "array", shape, inputs, file)


def _noise_samples(model: BenchModel, shape: tuple[int, ...]) -> int:
    """Return how many samples of noise to make; raises InputError if the samples of one call do not fit in memory."""
    values, batch = math.prod(shape), model.facts.fixed_batch or 1
    subject = f"{model.card.name}: inputs of {'x'.join(map(str, (batch, *shape)))}"
    require_memory(8 * batch * values, subject, "give a smaller --size, or export it for smaller inputs")
    return max(1, min(_NOISE_SAMPLES, _MAX_NOISE_VALUES // max(1, values)))


def noise_shape(facts: ModelFacts, name: str, size: tuple[int, int] | None = None) -> tuple[int, ...]:
    """Return the shape of a sample of noise in a model's layout; `size` is its height and width if the file sets none.

    An open number of channels becomes 3. Raises InputError, with the model's `name`, if any other size stays open.
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
        preprocessing = Preprocessing(scale=preprocessing.scale)  # flat noise has no channels to normalise separately
    if (n := len(preprocessing.mean)) not in {1, channels}:
        message = f"{model.card.name}: {n} means and standard deviations for {channels} channels"
        hint = f"give one, or {channels}"
        if images.shape[1:3] == (1, 1) and n == images.shape[3]:
            hint = "rows of numbers that are not pixels need --data-layout=vectors"
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
    """Raise InputError if the data holds pixels but the card's scale is for numbers of another range."""
    scale_of_card = preprocessing.sources.get("scale", "its card") == "its card"
    if preprocessing.data_layout is not None and images.dtype == np.uint8 and scale_of_card:
        message = f"{model.card.name} was trained on numbers as its data set holds them, and this data holds uint8"
        hint = f"choose the data that it was trained on; --scale {model.id}=255 divides pixels by 255"
        raise InputError(message, hint)


def _divisor(model: BenchModel, preprocessing: Preprocessing, images: NDArray[Any]) -> float:
    """Return the divisor of the stored pixels.

    The preprocessing's `scale` refers to pixels from 0 to 255: it is divided by 255 for floats from 0 to 1, and used
    unchanged for floats of another range. Raises InputError for these if no source defines a scale, or if they are
    too small for the pixels from 0 to 255 that the source is about.
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
    source = preprocessing.sources["scale"]
    if max(-low, high) < _DARKEST * (255 if source == GRAPH else preprocessing.scale):
        message = (
            f"{model.card.name}: the data holds floats from {low:g} to {high:g}, no pixels from 0 to 255, but {source} "
            f"has the scale {preprocessing.scale:g} of such pixels"
        )
        unchanged = f"--scale {model.id}=1 --mean {model.id}=0 --std {model.id}=1 feeds values that are normalised"
        raise InputError(message, f"save pixels, as uint8 or as floats from 0 to 1; {unchanged}")
    return preprocessing.scale


def _quantization(model: BenchModel, preprocessing: Preprocessing, images: NDArray[Any]) -> tuple[float, int] | None:
    """Return scale and zero point of an integer input; None if it takes unchanged pixels."""
    if preprocessing.input_scale is not None:
        return preprocessing.input_scale, preprocessing.input_zero_point
    dtype, hint = model.facts.input_dtype, "give its scale and zero point: --input-scale, --input-zero-point"
    if (set(preprocessing.mean), set(preprocessing.std)) != ({0.0}, {1.0}):
        message = f"{model.card.name} takes {dtype} pixels, which cannot be normalised"
        unchanged = f"--mean {model.id}=0 --std {model.id}=1 feed pixels as they are; if it takes normalised values"
        raise InputError(message, f"{unchanged}, {hint}")
    if dtype == "uint8" and images.dtype != np.uint8 and images.min() >= 0 and images.max() <= 1:
        return 1 / preprocessing.scale, 0  # converts the floats back to pixels from 0 to 255
    if dtype == "int8" or images.dtype != np.uint8:
        raise InputError(f"{model.card.name} takes {dtype} inputs, but the pixels are {images.dtype}", hint)
    return None


def null_model(folder: Path) -> JobModel:
    """Write a model that computes nothing: the time of its calls is the overhead of a call on this machine."""
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
