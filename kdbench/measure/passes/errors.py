"""The errors pass: a regression's predictions for the test set and for training samples, and their errors."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kdbench.evaluate.errors import (
    ERRORS,
    TARGET_ERRORS,
    TEACHER_ERRORS,
    PredictedNumbers,
    error_measurements,
    squared_errors,
    target_measurements,
    teacher_findings,
)
from kdbench.evaluate.predictions import TRAIN, TrainingImages
from kdbench.evaluate.regression_checks import regression_warnings
from kdbench.measure.bench_model import BenchModel
from kdbench.measure.context import PASSES, Context, Expected, Pass, expected_of, expected_pair
from kdbench.measure.predictions.other_runtimes import expected_by_runtime, findings_by_runtime
from kdbench.measure.predictions.predict import Outcome, findings_by_batch, predict, predict_training, training_parts
from kdbench.measure.timed import students
from kdbench.progress import SubProgress
from kdbench.results.findings import Failure, Findings
from kdbench.results.records import Axes
from kdbench.results.samples import squared_error_key

_SAMPLES_PER_S = 5000  # through one model: a guess, for the progress


@PASSES.register("errors")
class ErrorsPass(Pass):
    """Errors of every model of a regression, and the distance of every student from its teacher."""

    order = 11

    def expected(self, context: Context) -> Iterator[Expected]:
        """Yield the metrics of the test set, and of training samples at the axes TRAIN."""
        if context.test is None or context.test.task != "regression":
            return
        if context.test.labels.shape[1] > 1:
            for metric in TARGET_ERRORS:
                yield from (Expected(model.id, metric, varies="target") for model in context.models)
        for owners, axes in [(context.models, {}), *((owners, TRAIN) for _, owners in _drawn_parts(context))]:
            yield from expected_of(owners, ERRORS, axes)
            for teacher, student in (pair for pair in students(context.models) if pair[1] in owners):
                for metric in TEACHER_ERRORS:
                    yield Expected(student.id, metric, axes, (teacher.id,))
                if not axes:
                    yield expected_pair(teacher, student, "rmse_ratio")
        yield from expected_by_runtime(context)

    def weight(self, context: Context) -> float:
        """Return the estimated seconds of the samples."""
        if context.test is None or context.test.task != "regression":
            return 0.0
        sizes = [len(context.test.labels), *(len(images.labels) for images, _ in _drawn_parts(context))]
        return 1.0 + sum(sizes) * len(context.models) / _SAMPLES_PER_S

    def run(self, context: Context) -> Findings:
        """Predict and evaluate, one measuring process a set of samples.

        Raises InputError if a model predicts another number of values than the targets have.
        """
        test, models = context.test, context.measurable
        if test is None or test.task != "regression":
            return Findings()
        progress = SubProgress(context.progress, 0, 1, "")
        outcomes = predict(replace(context, progress=replace(progress, end=0.5)), models, test)
        predictions = _numbers(outcomes)
        findings = Findings(
            samples={squared_error_key(id_): squared_errors(p.values, test.labels) for id_, p in predictions.items()},
            protocol={"test_set_sha256": test.sha256()},
            failures=tuple(outcome for outcome in outcomes.values() if isinstance(outcome, Failure)),
        )
        findings += _evaluate(models, predictions, test.labels, predictions)
        findings += Findings(warnings=tuple(regression_warnings(predictions.values(), test.labels)))
        findings += findings_by_batch(
            context,
            test,
            predictions,
            _difference_by_batch,
            lambda batched, axes: Findings(error_measurements(batched, test.labels, axes)),
        )
        findings += findings_by_runtime(context, test, outcomes)
        for images, owners in _drawn_parts(context):
            part = replace(context, progress=replace(progress, start=0.5), folder=context.folder / "training")
            train_outcomes = predict_training(part, owners, outcomes, images)
            failed = (replace(o, axes=TRAIN, metrics=()) for o in train_outcomes.values() if isinstance(o, Failure))
            drawn = {id_: numbers.select(images.drawn) for id_, numbers in _numbers(train_outcomes).items()}
            targets, ids = images.labels[images.drawn], {owner.id for owner in owners}
            findings += Findings(failures=tuple(failed)) + _evaluate(models, drawn, targets, ids, TRAIN)
        return findings


def _drawn_parts(context: Context) -> list[tuple[TrainingImages, list[BenchModel]]]:
    parts = training_parts(context.measurable, context.analyses)
    return [(images, owners) for images, owners in parts if images.drawn.any()]


def _numbers(outcomes: Mapping[str, Outcome]) -> dict[str, PredictedNumbers]:
    return {id_: outcome for id_, outcome in outcomes.items() if isinstance(outcome, PredictedNumbers)}


def _evaluate(
    models: Sequence[BenchModel],
    predictions: Mapping[str, PredictedNumbers],
    targets: NDArray[np.floating],
    ids: Container[str],
    axes: Axes | None = None,
) -> Findings:
    """Evaluate the models `ids` on one set of samples with `targets` (N, D)."""
    findings = Findings()
    for id_ in (id_ for id_ in predictions if id_ in ids):
        findings += Findings(error_measurements(predictions[id_], targets, axes))
        if not axes:
            findings += Findings(target_measurements(predictions[id_], targets))
    for teacher, student in students(models):
        if student.id in ids and {teacher.id, student.id} <= predictions.keys():
            findings += teacher_findings(predictions[teacher.id], predictions[student.id], targets, axes)
    return findings


def _difference_by_batch(single: PredictedNumbers, batched: PredictedNumbers, batch: int) -> str:
    """Describe by how much predictions differ between batch 1 and `batch`; empty if they do not."""
    difference = float(np.sqrt(squared_errors(batched.values, single.values).mean()))
    if not difference:
        return ""
    return f"its predictions depend on the batch: those at batch {batch} differ by {difference:.3g} (RMS)"
