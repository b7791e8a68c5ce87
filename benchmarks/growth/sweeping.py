"""The points of a sweep whose trainings and measurements are simulated: driving them, their record, their report.

A simulated task writes the files that a real one leaves, with the numbers of a synthetic record. The plan is made
before the clock starts, because it is a task of its own.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.growth import planning
from benchmarks.growth.records import Parts, synthetic_record
from kdbench import report
from kdbench.distill.training import fit
from kdbench.export.onnx import Parity
from kdbench.files import storage
from kdbench.progress import Progress, Silent
from kdbench.results.records import Interval, RunRecord, measured
from kdbench.results.run_folder import RunFolder, card_path
from kdbench.results.samples import correct_key, squared_error_key, write_samples
from kdbench.workflows.stages.export import WrittenModel
from kdbench.workflows.sweeping.execution.driver import Driver
from kdbench.workflows.sweeping.execution.engine import Inline
from kdbench.workflows.sweeping.existing import PartFolder, write_export
from kdbench.workflows.sweeping.merging import merged
from kdbench.workflows.sweeping.opening import planned_sweep
from kdbench.workflows.sweeping.relative import METRIC
from kdbench.workflows.sweeping.sweep_tasks import PlannedSweep, SweepTasks

PARTS = Parts(classes=3, energy=False, offline=False, layers=False, seeds=False, faults=False)
_TESTED = 300  # samples


class Simulated:
    """Does the tasks of a plan without training or measuring anything."""

    def __init__(self, planned: PlannedSweep, folder: RunFolder) -> None:
        self._planned, self._folder = planned, folder
        record = synthetic_record(2, parts=PARTS)
        teacher, student = (card.id for card in record.models)
        beside = [
            measured(student, METRIC, 0.3, axes=one.axes, interval=Interval(low=0.29, high=0.31))
            for one in record.measurement_index.having("latency_p50_ns")
            if one.model == student
        ]
        record = record.model_copy(update={"measurements": (*record.measurements, *beside)})
        self._record = record.model_dump_json()
        self._ids = {"teacher": teacher, "student": student}
        scores = {correct_key: np.ones(_TESTED, dtype=bool), squared_error_key: np.ones(_TESTED, dtype=np.float32)}
        self._samples = {key(id_): values for id_ in (teacher, student) for key, values in scores.items()}
        self._training = record.models[0].model_dump(mode="json")["training"]

    def perform(self, message: Mapping[str, Any], _progress: Progress) -> None:
        """Leave what the task would leave."""
        if message["task"] == "train":
            self._train(message["job"])
        else:
            self._measure(PartFolder.of(self._folder, message["part"]), message["models"])

    def _train(self, id_: str) -> None:
        checkpoint, key, job = self._folder.checkpoint(id_), self._planned.keys[id_], self._planned.plan.by_id[id_]
        for folder in (checkpoint, self._folder.model(id_).parent):
            storage.make_folder(folder)
        (checkpoint / fit.WEIGHTS).touch()
        content = {"key": key, "training": self._training}
        storage.write_json(checkpoint / fit.SUMMARY, {**content, "sha256": storage.content_hash(content)})
        storage.write_text(self._folder.model(id_), id_)  # each has its own hash
        storage.write_json(card_path(self._folder.model(id_)), {"id": id_})
        write_export(job, key, WrittenModel(Parity(max_abs=1e-6, tolerance=1e-3, samples=216), 10_000), self._folder)

    def _measure(self, into: PartFolder, models: list[str]) -> None:
        storage.make_folder(into.path)
        write_samples(into.samples, self._samples)
        storage.write_text(into.record, self._record)
        known = ["teacher" if id_ == "teacher" else "student" for id_ in models]
        into.complete([self._ids[name] for name in known])


def drive(points: int, folder: Path) -> Callable[[], object]:
    """Return the driver's work for a sweep of that many points: messages, results that stand, progress."""
    planned, into = _planned(points), RunFolder(folder / "driven")
    shutil.rmtree(into.path, ignore_errors=True)
    return lambda: _driven(planned, into)


def record(points: int, folder: Path) -> Callable[[], object]:
    """Return the merging of what so many points left to one record."""
    work = _work(points, folder)
    return lambda: _merged(work).write(work.folder.record)


def write_report(points: int, folder: Path) -> Callable[[], object]:
    """Return the report, Markdown and HTML, of a record of so many points."""
    work = _work(points, folder)
    if not work.folder.record.exists():
        _merged(work).write(work.folder.record)

    def run() -> None:
        report.write(report.Content.read(work.folder.path), work.folder.path, ("md", "html"))

    return run


def _planned(points: int) -> PlannedSweep:
    with planned_sweep(planning.swept(points), None, on="inline", measure_on=None, resume=False) as (planned, _):
        return planned


def _work(points: int, folder: Path) -> SweepTasks:
    """Return the work that is done in a folder, which is kept for another task of this size."""
    return _driven(_planned(points), RunFolder(folder / f"sweep-{points}"))


def _driven(planned: PlannedSweep, folder: RunFolder) -> SweepTasks:
    work = SweepTasks(planned, folder, "", metered=False)
    Driver(work.schedule, Inline(Simulated(planned, folder).perform), work.prepare, Silent()).run()
    assert not work.failed, "a simulated task cannot fail"
    return work


def _merged(work: SweepTasks) -> RunRecord:
    return merged(work.planned.plan, work.complete, {}, "")[0]
