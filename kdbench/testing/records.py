"""Measurements for the pytest plug-in: each set of files is measured once per test session, whichever process needs it.

Each measurement writes a run's folder, with its report, into the session's folder. Without `--benchmark`, each model is
only called once, to check that it runs.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from kdbench.errors import DataMissingError, InputError, KdbenchError, MeasurementError
from kdbench.files import storage
from kdbench.measure.bench_model import BenchModel, TestSet
from kdbench.measure.staging import stage
from kdbench.modelfile.identity import model_sha256
from kdbench.modelfile.known_inputs import sidecar_files
from kdbench.processes import temporary
from kdbench.processes.locks import locked
from kdbench.progress import Progress
from kdbench.recipe import InputOptions, Measure
from kdbench.registry import suggestion
from kdbench.results.metrics import Metric, metric
from kdbench.results.records import RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.user_input.validation import validated
from kdbench.worker.faults import describe, remedy
from kdbench.worker.inputs import prepare
from kdbench.worker.jobs import JobModel
from kdbench.workflows import bench
from kdbench.workflows.files.images import TestImages
from kdbench.workflows.files.model_files import load_bench_model

INPUT_KEYWORDS = InputOptions.model_fields.keys() - {"data", "accuracy"}
KEYWORDS = INPUT_KEYWORDS | Measure.model_fields.keys()
"""The options of a test's calls: fields of `InputOptions` and of `Measure`."""

_T = TypeVar("_T")
_IMAGES = 4  # to call a model with, where nothing is measured


class Depth(IntEnum):
    """How much is measured: only metrics of the files; also times and memory; also energy."""

    FILES = 0
    TIMES = 1
    ENERGY = 2

    @classmethod
    def of(cls, declared: Metric) -> "Depth":
        """Return the least depth at which a metric is measured."""
        if not declared.hardware_dependent:
            return cls.FILES
        return cls.ENERGY if metric(declared.compares or declared.id).metered else cls.TIMES


@dataclass(frozen=True)
class BenchFiles:
    """Model files to measure side by side, the first as the reference, with the options of a test.

    `input_options` are fields of InputOptions other than `data`, `measure_options` fields of Measure.
    """

    paths: tuple[Path, ...]
    data: str | None = None
    input_options: Mapping[str, Any] = field(default_factory=dict)
    measure_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> InputOptions:
        """The inputs of the models; raises InputError for impossible ones."""
        return validated(InputOptions, {"data": self.data, "accuracy": self.data is not None, **self.input_options})

    @property
    def student(self) -> str:
        """The id of the last file's model in a record of all files."""
        return bench.model_ids(self.paths)[-1]

    def options(self, depth: Depth) -> Measure:
        """Return the configuration of a measurement; raises InputError for an impossible one."""
        options = {"energy": "quick" if depth is Depth.ENERGY else "off", **self.measure_options}
        if options["energy"] == "off" and "energy" not in self.measure_options:
            options.pop("country", None)  # it is only valid with energy
        return validated(Measure, options, "see the table [measure] of a recipe")

    def key(self, depth: Depth) -> str:
        """Return the hash of all that affects a number: the files, the data and the options."""
        models = [[id_, *file_hashes(path)] for id_, path in zip(self.ids, self.paths, strict=True)]
        return storage.content_hash([models, self.conditions(depth)])

    def conditions(self, depth: Depth) -> dict[str, Any]:
        """Return the data and the options of a measurement as JSON values."""
        return {
            "data": [self.data, *_data_state(self.data)],
            "inputs": {name: str(value) for name, value in sorted(self.input_options.items())},
            "options": self.options(depth).model_dump(mode="json") if depth else None,
        }

    @property
    def ids(self) -> list[str]:
        """The models' ids in a record of these files."""
        return bench.model_ids(self.paths)


@dataclass
class SessionRecords:
    """The records of a session, in `folder`."""

    folder: Path
    progress: Progress
    _done: dict[str, tuple[RunRecord, Path]] = field(default_factory=dict)
    _failed: dict[str, KdbenchError] = field(default_factory=dict)
    _called: set[str] = field(default_factory=set)

    def record(self, files: BenchFiles, depth: Depth) -> tuple[RunRecord, Path]:
        """Return a record at least as deep as `depth`, and its folder; measure if there is none.

        Raises KdbenchError for what cannot be measured, and the same error again on the next call.
        """
        for deeper in Depth:
            if deeper > depth and (known := self._known(files, deeper)):
                return known
        key = files.key(depth)
        self._done[key] = self.once(key, lambda: self._known(files, depth), lambda: self._measure(files, depth, key))
        return self._done[key]

    def once(self, key: str, known: Callable[[], _T | None], make: Callable[[], _T]) -> _T:
        """Return the result of `known`, or of `make` if that is None; raise a KdbenchError again on the next call."""
        if key in self._failed:
            raise self._failed[key]
        storage.make_folder(self.folder)
        # Another of xdist's workers may be making the same: after waiting for the lock, `known` returns it.
        with locked(self.folder / f".{key[:12]}.lock"):
            try:
                existing = known()
                return make() if existing is None else existing
            except KdbenchError as error:
                self._failed[key] = error
                raise

    def call_once(self, files: BenchFiles) -> None:
        """Call each model once in a session; raises KdbenchError if it fails."""
        key = files.key(Depth.FILES)
        if key not in self._called:
            call_models(files)
            self._called.add(key)

    def _known(self, files: BenchFiles, depth: Depth) -> tuple[RunRecord, Path] | None:
        key = files.key(depth)
        folder = self._folder(files, key)
        if key not in self._done and RunFolder(folder).record.exists():
            self._done[key] = RunRecord.read(folder), folder
        return self._done.get(key)

    def _measure(self, files: BenchFiles, depth: Depth, key: str) -> tuple[RunRecord, Path]:
        # For a model that cannot run, each metric in the record is missing with the reason, so that its bounds fail.
        results = bench.bench_models(
            files.paths,
            inputs=files.inputs,
            timed=depth > Depth.FILES,
            options=files.options(depth),
            out=self._folder(files, key),
            progress=self.progress,
            command="pytest --benchmark",
        )
        return results.record, results.folder.path

    def _folder(self, files: BenchFiles, key: str) -> Path:
        return self.folder / f"{'-'.join(files.ids)[:60]}-{key[:8]}"


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a test's options into fields of InputOptions and of Measure; raises InputError for unknown ones."""
    for name in options:
        if name not in KEYWORDS:
            raise InputError(f"unknown option {name!r}", suggestion(name, sorted(KEYWORDS)))
    inputs = {name: value for name, value in options.items() if name in INPUT_KEYWORDS}
    return inputs, {name: value for name, value in options.items() if name not in INPUT_KEYWORDS}


def file_hashes(path: Path) -> list[str]:
    """Return the hashes of a model's file, its external weights and its card; of a run's folder, of its record."""
    beside = (path.with_suffix(".card.json"), RunFolder(path).record, *sidecar_files(path))
    model = [model_sha256(path)] if path.is_file() else []
    return [*model, *(storage.sha256(file) for file in beside if file.is_file())]


def _data_state(data: str | None) -> list[str | int]:
    """Return what distinguishes data sets of the same name: a file's size and time, else the folder of data sets."""
    if data is not None and data.startswith("npz:"):
        state = Path(data.removeprefix("npz:")).stat()
        return [state.st_size, state.st_mtime_ns]
    return [os.environ.get("KDBENCH_DATA", "")]


def call_models(files: BenchFiles) -> None:
    """Load each model and call it with a few images, or with noise if the data is not on this machine.

    Raises InputError for a file, data or options that cannot be measured, MeasurementError for a model that does not
    run or whose output is not finite.
    """
    files.options(Depth.TIMES)
    models, test = _load(files, files.inputs), None
    if files.data is not None:
        with suppress(DataMissingError):  # the data may be only on the machine that runs --benchmark
            images = TestImages(files.inputs)
            models, test_set = _load(files, files.inputs, images), images.test_set()
            few = {geometry: array[:_IMAGES] for geometry, array in test_set.in_geometry.items()}
            numbers = {key: array[:_IMAGES] for key, array in test_set.in_layout.items()}
            test = TestSet(test_set.inputs[:_IMAGES], test_set.labels[:_IMAGES], in_geometry=few, in_layout=numbers)
    with temporary.folder() as folder:
        for model in stage(models, test, folder, 0).values():
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
        reason = describe(error)
        raise MeasurementError(f"{Path(model.path).name} could not be run: {reason}", remedy(reason) or "") from error
    if not np.isfinite(outputs).all():
        message = f"{Path(model.path).name}: its output is not finite"
        raise MeasurementError(message, "check its weights and the preprocessing")
