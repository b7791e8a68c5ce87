"""The closed form of linear models: the errors that their trainings should reach, for the record."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from kdbench.data.dataset import Split
from kdbench.distill.methods.mse import Mse, MseOptions
from kdbench.evaluate.least_squares import LinearProblem
from kdbench.recipe import Student
from kdbench.results.records import Measurement, measured
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.study.networks import architecture, teacher_network
from kdbench.workflows.study.plan import Job
from kdbench.workflows.study.run_data import RunData

_BATCH = 1024


def closed_form_errors(jobs: Sequence[Job], run_data: RunData, folder: RunFolder) -> Iterator[Measurement]:
    """Yield `closed_form_mse` and `expected_mse` of every job whose objective has its minimum in closed form."""
    for job in jobs:
        share = teachers_share(job)
        if share is None or run_data.dataset.task != "regression":
            continue
        problem = _problem(job, share, run_data, folder)
        if problem.is_determined:
            n = len(problem.test_targets)
            yield measured(job.id, "closed_form_mse", problem.closed_form_mse(), n=n, source="least squares")
            yield measured(job.id, "expected_mse", problem.expected_mse(), n=n, source="least squares")


def teachers_share(job: Job) -> float | None:
    """Return the weight of the teachers' predictions in a linear model's loss, 0 to 1; None without a closed form.

    A closed form needs one affine layer that is trained in full, squared errors for the whole training, and neither
    weight decay nor random changes of the inputs.
    """
    entry = job.entry
    student = entry if isinstance(entry, Student) else None
    plain = student is None or (student.quantize is None and student.sub_students is None)
    augment = entry.data.augment
    as_stored = augment.distinct_views == 1 and not augment.mixes and augment.transform is None
    unchanged = as_stored and not entry.training.optimizer.weight_decay
    learns = entry.training.epochs and not entry.training.freeze
    if architecture(entry).name != "linear" or not plain or not unchanged or not learns:
        return None
    if student is None or not student.terms:
        return 0.0
    (term, *others) = student.terms
    if others or term.method != "mse" or term.alone or term.from_epoch or term.until_epoch is not None:
        return None
    if any(teacher.logits is not None for teacher in job.teachers):
        return None  # stored logits may cover only some samples
    teacher_weight = MseOptions(**term.options).mse_weight
    label_weight = Mse.default_ce_weight if student.ce_weight is None else student.ce_weight
    return teacher_weight / (teacher_weight + label_weight) if teacher_weight else 0.0


def _problem(job: Job, share: float, run_data: RunData, folder: RunFolder) -> LinearProblem:
    part, test = run_data.part_of(job.entry.data), run_data.dataset.test
    assert test is not None, "loaders return the requested parts or raise"
    teacher_predictions = np.zeros(part.split.labels.shape)
    if share:
        networks = [teacher_network(teacher, run_data, folder) for teacher in job.teachers]
        with torch.inference_mode():
            outputs = [
                [network(batch.inputs).double().numpy() for batch in run_data.batches(part.split, _BATCH)]
                for network in networks
            ]
        teacher_predictions = np.mean([np.concatenate(batches) for batches in outputs], axis=0)
    return LinearProblem(
        features=_features(part.split, run_data),
        labels=part.split.labels.astype(np.float64),
        clean=part.true_labels.astype(np.float64),
        std=job.entry.data.target_noise.std,
        teacher_predictions=teacher_predictions,
        share=share,
        test_features=_features(test, run_data),
        test_targets=test.labels.astype(np.float64),
    )


def _features(split: Split, run_data: RunData) -> NDArray[np.float64]:
    batches = (batch.inputs.flatten(1).double().numpy() for batch in run_data.batches(split, _BATCH))
    return np.concatenate(list(batches))
