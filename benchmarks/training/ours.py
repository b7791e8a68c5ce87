"""kdbench's side: its own training on resident images, as `kdbench run` does it, and what filling its cache takes."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.training import workload as common
from benchmarks.training.stopwatch import seconds_once, seconds_per_step, timed
from benchmarks.training.workload import CE_WEIGHT, KD_WEIGHT, OPTIMIZER, PAD, TEMPERATURE, Workload
from kdbench import models
from kdbench.data.batches import Batch, Batches
from kdbench.data.dataset import Dataset
from kdbench.distill.method import MethodContext
from kdbench.distill.objective import student_objective, student_terms
from kdbench.distill.teaching.teachers import CachedTeacher, LiveTeacher, Teacher, cached_teacher
from kdbench.distill.training.devices import resolved
from kdbench.distill.training.fit import fit
from kdbench.files import storage
from kdbench.progress import Silent
from kdbench.recipe import Augment, Model, Student, Training

LEARNS: dict[str, dict[str, Any]] = {
    "labels": {},
    "logits": {"ce_weight": CE_WEIGHT, "terms": [{"method": "kd", "kd_weight": KD_WEIGHT, "temperature": TEMPERATURE}]},
    "hint": {"terms": [{"method": "hint"}]},
}


class TimedBatches(Batches):
    """Batches that note when each is asked for, of the latest iteration; copies note in the same place."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.marks: list[float] = []

    def __iter__(self) -> Iterator[Batch]:
        self.marks.clear()
        return timed(super().__iter__(), self.marks)


def measure(
    workload: Workload, folder: Path, *, learns: str, views: int | None = None, **choices: Any
) -> dict[str, Any]:
    """Train for the steps that are counted; return seconds per step, and what the first ones took beyond.

    `learns` says what the student learns from, `choices` are keys of `[training]` that are not left to kdbench. With
    `views` images come in that many views and the teacher's logits from a cache; one that is not there is filled first,
    uncounted.
    """
    dataset = common.load()
    torch.set_num_threads(workload.threads)
    network = common.student(workload, dataset)
    training = resolved(_training(workload, choices), network, _sample(workload, dataset))
    teacher_networks = () if learns == "labels" else (common.teacher(workload, dataset, folder),)
    batches = _batches(TimedBatches, workload, dataset, training, views)
    teachers: list[Teacher] = [
        _cached(teacher, workload, batches, training, folder, folder / "cache")
        if views
        else LiveTeacher(teacher, channels_last=batches.channels_last)
        for teacher in teacher_networks
    ]
    entry = Student.model_validate({"name": "student", "model": workload.student, **LEARNS[learns]})
    terms = student_terms(entry, _context(network, teacher_networks, batches, workload, dataset))
    validation = Batches(_test(dataset, workload), batch=128, train=False, **_as_seen(dataset, training))
    with tempfile.TemporaryDirectory() as place:
        fit(
            network, student_objective(entry, terms, teachers), batches, validation, training,
            seed=0, folder=Path(place), key="speed", progress=Silent(),
        )  # fmt: skip
    return {
        "step_s": seconds_per_step(batches.marks, workload.warmup, workload.steps),
        "once_s": seconds_once(batches.marks, workload.warmup, workload.steps),
        "precision": training.precision,
        "channels_last": training.channels_last,
        "compile": training.compile,
    }


def fill(workload: Workload, folder: Path, *, views: int) -> dict[str, Any]:
    """Ask the teacher for the logits of `views` views of the images; return how many it answered for in a second."""
    dataset = common.load()
    torch.set_num_threads(workload.threads)
    network = common.teacher(workload, dataset, folder)
    training = resolved(_training(workload, {}), common.student(workload, dataset), _sample(workload, dataset))
    batches = _batches(Batches, workload, dataset, training, views)
    with tempfile.TemporaryDirectory() as place:
        began = time.perf_counter()
        _cached(network, workload, batches, training, folder, Path(place))
        seconds = time.perf_counter() - began
    return {"images_per_s": workload.images * views / seconds}


def _training(workload: Workload, choices: dict[str, Any]) -> Training:
    fixed = {"epochs": 1, "batch": workload.batch, "threads": workload.threads, "device": "cpu"}
    return Training.model_validate({**fixed, "optimizer": {"name": "sgd", **OPTIMIZER}, **choices})


def _batches(
    kind: type[Batches], workload: Workload, dataset: Dataset, training: Training, views: int | None
) -> Batches:
    assert dataset.train is not None, "the training part is loaded unless another is asked for"
    augment = Augment(pad=PAD, flip=True, views=views)
    some = dataset.train.subset(range(workload.images))
    return kind(some, batch=workload.batch, train=True, augment=augment, **_as_seen(dataset, training))


def _as_seen(dataset: Dataset, training: Training) -> dict[str, Any]:
    return {"mean": dataset.mean, "std": dataset.std, "channels_last": training.channels_last}


def _sample(workload: Workload, dataset: Dataset) -> torch.Tensor:
    return Batches(_test(dataset, workload), batch=1, train=False, mean=dataset.mean, std=dataset.std).example()


def _test(dataset: Dataset, workload: Workload) -> Any:
    assert dataset.test is not None, "the test part is loaded unless another is asked for"
    return dataset.test.subset(range(2 * workload.batch))  # of no interest here


def _cached(
    network: nn.Module, workload: Workload, batches: Batches, training: Training, folder: Path, cache: Path
) -> CachedTeacher:
    identity = storage.sha256(common.weights_of(workload, folder))
    options = {"precision": training.precision, "content": common.DATASET}
    return cached_teacher(cache, network, identity, batches, **options, progress=Silent())


def _context(
    network: nn.Module, teachers: tuple[nn.Module, ...], batches: Batches, workload: Workload, dataset: Dataset
) -> MethodContext:
    def build(_model: Model | None, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return models.build(workload.student, dataset.input_shape, dataset.classes)

    example = next(iter(batches)).inputs[:2]
    return MethodContext(network, teachers, example, torch.from_numpy(batches.labels), dataset.classes, build)
