"""Making a bundle: models, a few hundred inputs, the host's outputs, and the files that measure them on a device."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdbench.edge.bundles.closure import closure, modules_in
from kdbench.edge.bundles.lowering import require_same
from kdbench.edge.bundles.tolerances import tolerance_of
from kdbench.edge.exchange.archive import Content, sha256, write_archive
from kdbench.edge.exchange.plan import MANIFEST, SCHEMA, BundledModel, Plan, Settings
from kdbench.errors import MeasurementError
from kdbench.evaluate.predictions import not_finite
from kdbench.files import storage
from kdbench.installation import __version__
from kdbench.machine.cores import available_cores
from kdbench.measure.bench_model import BenchModel, TestSet
from kdbench.measure.passes import cold_start, memory
from kdbench.measure.runner import Runner
from kdbench.measure.staging import null_model, stage
from kdbench.measure.timed import SEED
from kdbench.modelfile.reading import model_files
from kdbench.progress import Progress, Silent
from kdbench.recipe.tables.measure import Measure
from kdbench.worker.jobs import JobModel, LogitsJob

SAMPLES = 300
TARGET = "target.toml"
_INPUT_BYTES = 4_000_000  # of all inputs in a bundle, which has 5 MB besides its models
_MIN_SAMPLES = 16
_RUN = "kdbench.edge.device.run"
_PROBES = ("coldstart", "energy", "latency", "logits", "memory", "profile", "sustain")
_ESTIMATE = ".codecarbon"  # not measurements, which are all that a device is asked for
_PROCESS_BYTES = 60_000_000  # of a process with numpy and onnxruntime
_TIMES_FILE = 3  # a model in memory: its weights, their packed copy, and its activations


@dataclass(frozen=True)
class Bundle:
    """A bundle as its archive's `members`; `id` names it.

    `outputs` are the host's by model; `labels` are, by classifier, the column of each sample's class in its outputs.
    """

    id: str
    plan: Plan
    members: Mapping[str, Content]
    outputs: Mapping[str, NDArray[np.generic]]
    labels: Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Packed:
    """A model to pack: its harness model, its file, what the file was lowered to (empty: nothing), and its memory."""

    model: BenchModel
    path: Path
    lowered: str = ""
    memory_bytes: int | None = None


def make_bundle(
    models: Sequence[Packed],
    test: TestSet | None,
    settings: Settings,
    folder: Path,
    *,
    run: str,
    record: str,
    target: str,
    target_text: str,
    run_folder: str = "",
    samples: int = SAMPLES,
    progress: Progress | None = None,
) -> Bundle:
    """Return the bundle of `models` with at most `samples` samples of `test`, noise without one.

    `folder` is for files that the members refer to: it must stay until the archive is written. Raises
    MeasurementError for a model that the host cannot run, InputError for a lowered one that computes something else.
    """
    chosen, progress = None if test is None else subset(test, samples), progress or Silent()
    staged = stage([packed.model for packed in models], chosen, folder, SEED)
    jobs = {packed.model.id: replace(staged[packed.model.id], path=str(packed.path)) for packed in models}
    outputs = _outputs(jobs, folder, progress)
    originals = _outputs({p.model.id: staged[p.model.id] for p in models if p.lowered}, folder, progress)
    members: dict[str, Content] = {TARGET: target_text.encode()}
    bundled = []
    for number, packed in enumerate(models):
        id_ = packed.model.id
        model, of_model = _bundled(number, packed, jobs[id_], outputs[id_], originals.get(id_))
        bundled.append(model)
        members |= of_model
    null = null_model(folder)
    members["models/null.onnx"] = Path(null.path)
    members |= program()
    plan = Plan(
        schema=SCHEMA,
        kdbench=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        run=run,
        record=record,
        target=target,
        settings=settings,
        models=tuple(bundled),
        samples=len(next(iter(outputs.values()))),
        null=replace(null, path="models/null.onnx", network=None),
        cold_start_processes=cold_start.PROCESSES,
        memory_processes=memory.PROCESSES,
        memory_calls=memory.CALLS,
        files={name: sha256(content) for name, content in sorted(members.items())},
        folder=run_folder,
    )
    manifest = (storage.json_text(plan.to_json()) + "\n").encode()
    members[MANIFEST] = manifest
    labels = _labels([packed.model for packed in models], chosen, outputs)
    return Bundle(sha256(manifest), plan, members, outputs, labels)


def _bundled(
    number: int, packed: Packed, job: JobModel, outputs: NDArray[np.generic], original: NDArray[np.generic] | None
) -> tuple[BundledModel, dict[str, Content]]:
    """Return a model as the plan describes it, and its members of the archive; models are numbered from 0.

    `outputs` are the host's, `original` those of the file that it was lowered from, if it was. Raises InputError if
    the two differ.
    """
    place, images, expected = f"models/{number}", f"inputs/{Path(job.images).name}", f"outputs/{number}.npy"
    files = files_by_name(packed.path)
    members: dict[str, Content] = {f"{place}/{name}": file for name, file in files.items()}
    members |= {images: Path(job.images), expected: _npy(outputs)}
    size_bytes = sum(file.stat().st_size for file in files.values())
    tolerance = tolerance_of(packed.path, job, outputs)
    if original is not None:
        require_same(job.id, outputs, original, tolerance)
    model = BundledModel(
        id=job.id,
        name=packed.model.name,
        sha256=storage.sha256(packed.path),
        source_sha256=packed.model.sha256,
        job=replace(job, path=f"{place}/{packed.path.name}", images=images, network=None),
        outputs=expected,
        batch=_batch_of(job),
        tolerance=tolerance,
        memory_bytes=packed.memory_bytes or _PROCESS_BYTES + _TIMES_FILE * size_bytes,
        teacher=packed.model.teacher,
        lowered=packed.lowered,
        behind=packed.model.behind,
    )
    return model, members


def write_bundle(bundle: Bundle, file: Path) -> None:
    """Write a bundle's archive to `file`; raises InputError where it is too large for one, StorageError."""
    with storage.writing(file) as stream:
        write_archive(stream, bundle.members)


def program() -> dict[str, Content]:
    """Return what runs on the device: `run.py`, and every file of kdbench that it needs, as they are."""
    roots = [_RUN, "kdbench.worker.__main__", "kdbench.worker.runtimes.onnxruntime"]
    roots += [f"kdbench.worker.probes.{name}" for name in _PROBES]
    roots += [meter for meter in modules_in("kdbench.meters") if not meter.endswith(_ESTIMATE)]
    files: dict[str, Content] = {**closure(roots)}
    files["run.py"] = files.pop(f"{_RUN.replace('.', '/')}.py")
    return files


def files_by_name(path: Path) -> dict[str, Path]:
    """Return a model's file and those of its external data, by their paths within its folder."""
    return {file.relative_to(path.parent).as_posix(): file for file in model_files(path)}


def subset(test: TestSet, samples: int) -> TestSet:
    """Return at most `samples` random samples of a test set, limited to _INPUT_BYTES, but at least _MIN_SAMPLES."""
    inputs = [test.inputs, *test.in_geometry.values(), *test.in_layout.values()]
    different = {id(array): array for array in inputs}.values()
    of_sample = sum(array[:1].nbytes for array in different)
    count = min(samples, len(test.labels), max(_INPUT_BYTES // max(of_sample, 1), _MIN_SAMPLES))
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(test.labels))[:count])
    drawn = {id(array): array[chosen] for array in different}
    return replace(
        test,
        inputs=drawn[id(test.inputs)],
        labels=test.labels[chosen],
        in_geometry={key: drawn[id(array)] for key, array in test.in_geometry.items()},
        in_layout={key: drawn[id(array)] for key, array in test.in_layout.items()},
    )


def _outputs(jobs: Mapping[str, JobModel], folder: Path, progress: Progress) -> dict[str, NDArray[np.generic]]:
    """Return each model's outputs on the host's CPU, computed in one measuring process.

    Raises MeasurementError for a model that cannot be run, or returns numbers that cannot be compared.
    """
    if not jobs:
        return {}
    models = tuple(jobs.values())
    files = {job.id: folder / f"outputs-{number}.npy" for number, job in enumerate(models)}
    job = LogitsJob(
        models=models,
        files=tuple(map(str, files.values())),
        batches=tuple(map(_batch_of, models)),
        provider="cpu",
        threads=len(available_cores()),
    )
    result = Runner(Measure(), folder).run(job, progress, pinned=False)
    for id_, reason in result["errors"].items():
        raise MeasurementError(f"{id_} cannot be run here: {reason}", "leave it out with --model")
    outputs = {id_: np.load(file) for id_, file in files.items()}
    for id_, values in outputs.items():
        if reason := not_finite(values):
            hint = "give it inputs that it was made for with --data, or leave it out with --model"
            raise MeasurementError(f"{id_} cannot be compared with a device: {reason}", hint)
    return outputs


def _labels(
    models: Sequence[BenchModel], test: TestSet | None, outputs: Mapping[str, NDArray[np.generic]]
) -> dict[str, NDArray[np.int64]]:
    """Return, by classifier, the column of each sample's class in its `outputs`; none for noise or a regression."""
    if test is None or test.task == "regression":
        return {}
    labels = {}
    for model in models:
        class_map = model.class_map_of(outputs[model.id].shape[1])
        labels[model.id] = test.labels if class_map is None else np.array(class_map.columns)[test.labels]
    return labels


def _batch_of(job: JobModel) -> int:
    """Return the batch at which outputs are compared: 1, at which accuracies are, or the fixed one."""
    return job.fixed_batch or 1


def _npy(array: NDArray[np.generic]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
