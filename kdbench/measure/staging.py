"""The files of measuring processes: images, and for each model how to feed it."""

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdbench import storage
from kdbench.errors import InputError
from kdbench.measure.bench_model import BenchModel, TestSet
from kdbench.modelfile.facts import ModelFacts, fits, layout_for
from kdbench.results.cards import Preprocessing
from kdbench.worker.jobs import JobModel, Network

_NOISE_IMAGES = 64
_OPEN_SIDE = 224  # height or width of an image where the model leaves it open


@contextmanager
def scratch(workspace: Path) -> Iterator[Path]:
    """Yield an empty folder in `workspace`; after the block remove it, and `workspace` if it was made here.

    Other things in `workspace` are left alone. Raises StorageError if nothing can be written.
    """
    folder = workspace / "pass"
    is_new = folder.exists() or not workspace.exists()  # left by a killed measurement, or not there yet
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield storage.make_folder(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if is_new:
            with suppress(OSError):  # something else is in it
                workspace.rmdir()


def stage(models: Sequence[BenchModel], test: TestSet | None, folder: Path, seed: int) -> dict[str, JobModel]:
    """Write the images to `folder` and return the models as measuring processes see them, by id.

    Without a test set the inputs are seeded noise of each model's shape. Raises InputError for a model that the images
    or the preprocessing do not fit.
    """
    if test is not None:
        images = save_images(folder / "images.npy", test.images)
        return {s.id: _on_images(s, test.images.shape[1:], images) for s in models}
    return {s.id: _on_noise(s, folder, seed) for s in models}


def _on_images(model: BenchModel, image: tuple[int, ...], images: Path) -> JobModel:
    channels, height, width = image
    layout = layout_for(model.facts.input_shape, (channels, height, width), model.card.name)
    shapes = {"NCHW": image, "NHWC": (height, width, channels), "flat": (math.prod(image),), "other": (height, width)}
    return _job_model(model, layout, shapes[layout], channels, images)


def _on_noise(model: BenchModel, folder: Path, seed: int) -> JobModel:
    layout, shape = model.facts.layout, model.card.input_shape
    if not fits(model.facts.sample_shape, shape):
        shape = noise_shape(model.facts, model.card.name)
    channels, height, width = {"NCHW": shape, "NHWC": (*shape[-1:], *shape[:-1])}.get(layout, (1, 1, math.prod(shape)))
    file = folder / f"noise-{channels}x{height}x{width}.npy"
    if not file.exists():
        rng = np.random.default_rng(seed)
        save_images(file, rng.integers(0, 256, (_NOISE_IMAGES, channels, height, width), dtype=np.uint8))
    return _job_model(model, layout, shape, channels, file)


def noise_shape(facts: ModelFacts, name: str) -> tuple[int, ...]:
    """Return the shape of a sample of noise for a model, in its own layout; an open height or width is 224.

    Raises InputError, with the `name`, where the size of an input that is no image is left open.
    """
    declared = facts.sample_shape
    if None in declared and facts.layout in {"flat", "other"}:
        hint = "give it real data with --data, or export it with a size"
        raise InputError(f"{name} leaves its input size open", hint)
    channel_axis = {"NCHW": 0, "NHWC": 2}.get(facts.layout)
    default = [3 if axis == channel_axis else _OPEN_SIDE for axis in range(len(declared))]
    return tuple(d if s is None else s for s, d in zip(declared, default, strict=True))


def _job_model(model: BenchModel, layout: str, shape: tuple[int, ...], channels: int, images: Path) -> JobModel:
    facts = model.facts
    preprocessing = model.card.preprocessing or Preprocessing()
    if layout not in {"NCHW", "NHWC"} and len(preprocessing.mean) > 1 and channels == 1:
        preprocessing = Preprocessing(scale=preprocessing.scale)  # noise has no channels to normalise one by one
    if (n := len(preprocessing.mean)) not in {1, channels}:
        message = f"{model.card.name}: {n} means and standard deviations for {channels} channels"
        raise InputError(message, f"give one, or {channels}")
    if facts.input_dtype == "uint8" and (set(preprocessing.mean), set(preprocessing.std)) != ({0.0}, {1.0}):
        raise InputError(f"{model.card.name} takes uint8 pixels, which cannot be normalised", "leave out mean and std")
    return JobModel(
        id=model.id,
        path=str(model.path),
        input=facts.input_name,
        output=facts.output_name,
        dtype=facts.input_dtype,
        layout=layout,
        shape=shape,
        fixed_batch=facts.fixed_batch,
        images=str(images),
        scale=preprocessing.scale,
        mean=preprocessing.mean,
        std=preprocessing.std,
        network=model.network if isinstance(model.network, Network) else None,
    )


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


def save_images(path: Path, images: NDArray[np.uint8]) -> Path:
    """Write images to a .npy file and return its path."""
    with storage.writing(path) as stream:
        np.save(stream, images)
    return path
