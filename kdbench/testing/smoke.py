"""Calling a model once to see that it runs: all that happens in tests without `--benchmark`."""

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from kdbench.errors import DataMissingError, MeasurementError
from kdbench.measure.bench_model import BenchModel, TestSet
from kdbench.measure.staging import stage
from kdbench.recipe import InputOptions
from kdbench.testing.records import BenchFiles, Depth
from kdbench.worker.inputs import prepare
from kdbench.worker.jobs import JobModel
from kdbench.worker.runtimes import describe
from kdbench.workflows.stages.model_files import TestImages, load_bench_model

_IMAGES = 4


def call_once(files: BenchFiles) -> None:
    """Load each model and call it with a few images, or with noise if the data is not on this machine.

    Raises InputError for a file, data or options that cannot be measured, MeasurementError for a model that does not
    run or whose output is not finite.
    """
    files.options(Depth.TIMES)
    models, test = _load(files, files.inputs), None
    if files.data is not None:
        with suppress(DataMissingError):  # the data may be only on the machine that runs --benchmark
            images = TestImages(files.inputs)
            models, whole = _load(files, files.inputs, images), images.test_set()
            few = {geometry: array[:_IMAGES] for geometry, array in whole.in_geometry.items()}
            test = TestSet(whole.images[:_IMAGES], whole.labels[:_IMAGES], in_geometry=few)
    with TemporaryDirectory(prefix="kdbench-smoke-") as folder:
        for model in stage(models, test, Path(folder), 0).values():
            _call(model)


def _load(files: BenchFiles, inputs: InputOptions, images: TestImages | None = None) -> list[BenchModel]:
    pairs = zip(files.paths, files.ids, strict=True)
    return [load_bench_model(path, id_, inputs, reference=files.ids[0], images=images)[0] for path, id_ in pairs]


def _call(model: JobModel) -> None:
    from kdbench.worker.runtimes.onnxruntime import FAULTS, LoadedModel

    images = np.load(model.images)
    batch = model.fixed_batch or min(len(images), _IMAGES)
    inputs = prepare(np.resize(images, (batch, *images.shape[1:])), model)
    try:
        outputs = LoadedModel(model, provider="cpu", threads=1)(inputs)
    except FAULTS as error:
        raise MeasurementError(f"{Path(model.path).name} could not be run: {describe(error)}") from error
    if not np.isfinite(outputs).all():
        raise MeasurementError(
            f"{Path(model.path).name}: its output is not finite", "check its weights and the preprocessing"
        )
