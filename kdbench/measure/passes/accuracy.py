"""The accuracy pass: predictions on the test set and on training images, and every analysis of them."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from kdbench.evaluate import fidelity
from kdbench.evaluate.accuracy import ACCURACIES, NOISE, accuracy_findings, class_accuracies, noise_measurements
from kdbench.evaluate.fidelity import FIDELITIES, MISMATCHES, RISKS
from kdbench.evaluate.flips import FLIPS, flip_pairs
from kdbench.evaluate.gains import GAINS, gain_measurements
from kdbench.evaluate.predictions import TRAIN, Analyses, Predictions, TrainingImages
from kdbench.evaluate.sanity_checks import sanity_warnings
from kdbench.measure.bench_model import BenchModel
from kdbench.measure.context import PASSES, Context, Expected, Pass, expected_of, expected_pair
from kdbench.measure.predictions.other_runtimes import expected_by_runtime, file_runtimes, findings_by_runtime
from kdbench.measure.predictions.predict import Outcome, findings_by_batch, predict, predict_training, training_parts
from kdbench.measure.timed import students, variants_with_teachers
from kdbench.progress import SubProgress
from kdbench.results.findings import Failure, Findings
from kdbench.results.records import Axes
from kdbench.results.samples import correct_key

_IMAGES_PER_S = 5000  # through one model: a guess, for the progress


@PASSES.register("accuracy")
class AccuracyPass(Pass):
    """Accuracy of every model, fidelity of every student, and the analyses."""

    order = 10

    def expected(self, context: Context) -> Iterator[Expected]:
        """Yield the metrics of the test set, and of training images at the axes TRAIN."""
        models, analyses = context.models, context.analyses
        if not _has_classes(context):
            return
        yield from _expected(models, models, analyses, {})
        for model, other in _with_baselines(models, analyses):
            for metric in GAINS:
                yield Expected(model.id, metric, {"beside": other.id}, (other.id,))
        yield from expected_by_runtime(context)
        for images, owners in training_parts(models, analyses):
            if images.flipped.any():
                yield from expected_of(owners, NOISE)
            if images.drawn.any():
                yield from _expected(models, owners, analyses, TRAIN)

    def weight(self, context: Context) -> float:
        """Return the estimated seconds of the images."""
        sizes = _sizes(context)
        return 1.0 + sum(sizes) * len(context.models) / _IMAGES_PER_S if sizes else 0.0

    def run(self, context: Context) -> Findings:
        """Predict and evaluate, one measuring process a set of images.

        Raises InputError if a model's classes do not fit the labels.
        """
        test, models = context.test, context.measurable
        if test is None:
            return Findings(failures=(Failure(None, "no test data was named", status="unavailable"),))
        if not _has_classes(context):
            return Findings()
        sizes = _sizes(context)
        progress = SubProgress(context.progress, 0, 1, "")
        ends = [0.0, *(total / sum(sizes) for total in accumulate(sizes))]
        parts = [replace(progress, start=start, end=end) for start, end in pairwise(ends)]
        outcomes = predict(replace(context, progress=parts[0]), models, test)
        predictions = {id_: outcome for id_, outcome in outcomes.items() if isinstance(outcome, Predictions)}
        findings = Findings(
            samples={correct_key(id_): p.correct for id_, p in predictions.items()},
            protocol={"test_set_sha256": test.sha256()},
            failures=tuple(outcome for outcome in outcomes.values() if isinstance(outcome, Failure)),
        )
        findings += _evaluate(models, predictions, test.labels, test.labels, context.analyses, predictions)
        findings += findings_by_batch(
            context,
            test,
            predictions,
            _difference_by_batch,
            lambda batched, axes: replace(accuracy_findings(batched, test.labels, axes), warnings=()),
        )
        findings += findings_by_runtime(replace(context, progress=parts[1]), test, outcomes)
        scored, names = list(predictions.values()), context.analyses.class_names
        findings += Findings(warnings=tuple(sanity_warnings(scored, test.labels, names)))
        for part, (images, owners) in zip(parts[2:], training_parts(models, context.analyses), strict=True):
            detailed = replace(part, detail="training images")
            training_context = replace(context, progress=detailed, folder=context.folder / "training")
            train_outcomes = predict_training(training_context, owners, outcomes, images)
            findings += _training_findings(models, owners, images, train_outcomes, context.analyses)
        return findings


def _difference_by_batch(single: Predictions, batched: Predictions, batch: int) -> str:
    """Describe how many predictions differ between batch 1 and `batch`; empty if none does."""
    changed = int((single.predicted != batched.predicted).sum())
    if not changed:
        return ""
    at = {1: single, batch: batched}
    shares = ", ".join(f"{100 * at[size].correct.mean():.2f} % at batch {size}" for size in at)
    return f"its answers depend on the batch: {changed} of {len(single.ranks)} differ; top-1 is {shares}"


def _expected(
    models: Sequence[BenchModel], owners: Sequence[BenchModel], analyses: Analyses, axes: Axes
) -> Iterator[Expected]:
    """Yield the metrics of `owners` on one set of images; the test set, without `axes`, has further ones."""
    for model in owners:
        yield from expected_of([model], ACCURACIES, axes)
        if not axes:
            yield Expected(model.id, "balanced_accuracy")
            yield Expected(model.id, "class_top1", varies="class")
    for teacher, student in (pair for pair in students(models) if pair[1] in owners):
        for metric in FIDELITIES if axes else (*FIDELITIES, *RISKS):
            yield Expected(student.id, metric, axes, (teacher.id,))
        if not axes:
            for metric in ("top1_drop", *FLIPS):
                yield expected_pair(teacher, student, metric)
    for teacher, variant in (pair for pair in variants_with_teachers(models) if pair[1] in owners and not axes):
        yield expected_pair(teacher, variant, "top1_drop")
    for teacher, student, other in _contrasted(models, analyses):
        for metric in MISMATCHES if student in owners else ():
            yield Expected(student.id, metric, {**axes, "beside": other.id}, (teacher.id, other.id))


def _has_classes(context: Context) -> bool:
    """Return whether labels are classes, as assumed without data; a regression has the pass `errors`."""
    return context.test is None or context.test.task == "classification"


def _sizes(context: Context) -> list[int]:
    """Return the numbers of images of the test set, again in other runtimes, and of each set of training images."""
    if context.test is None or not _has_classes(context):
        return []
    parts = training_parts(context.measurable, context.analyses)
    test = len(context.test.labels)
    return [test, test * len(file_runtimes(context)), *(len(images.labels) for images, _ in parts)]


def _training_findings(
    models: Sequence[BenchModel],
    owners: Sequence[BenchModel],
    images: TrainingImages,
    outcomes: Mapping[str, Outcome],
    analyses: Analyses,
) -> Findings:
    """Evaluate `owners` on their training images: wrong labels, and the images that were drawn at random."""
    ids = {owner.id for owner in owners}
    predictions = {id_: outcome for id_, outcome in outcomes.items() if isinstance(outcome, Predictions)}
    findings = Findings()
    for outcome in (o for o in outcomes.values() if isinstance(o, Failure)):
        at_train = replace(outcome, axes=TRAIN, metrics=())
        findings += Findings(failures=(at_train, replace(outcome, metrics=NOISE)))
    if images.flipped.any():
        for id_ in (id_ for id_ in predictions if id_ in ids):
            findings += Findings(noise_measurements(predictions[id_], images))
    if not images.drawn.any():
        return findings
    drawn = {id_: prediction.select(images.drawn) for id_, prediction in predictions.items()}
    labels, true_labels = images.labels[images.drawn], images.true_labels[images.drawn]
    return findings + _evaluate(models, drawn, labels, true_labels, analyses, ids, TRAIN)


def _evaluate(
    models: Sequence[BenchModel],
    predictions: Mapping[str, Predictions],
    labels: NDArray[np.int64],
    true_labels: NDArray[np.int64],
    analyses: Analyses,
    ids: Container[str],
    axes: Axes | None = None,
) -> Findings:
    """Evaluate the models `ids` on one set of images; the test set, without `axes`, has further analyses."""
    findings = Findings()
    for model in (prediction for id_, prediction in predictions.items() if id_ in ids):
        findings += accuracy_findings(model, labels, axes)
        findings += Findings(() if axes else class_accuracies(model, labels, analyses))
    for teacher, student in _compared(students(models), predictions, ids):
        if teacher.of_same_classes(student):
            findings += fidelity.fidelity_findings(teacher, student, axes, analyses.std)
            findings += Findings(() if axes else fidelity.risk_measurements(teacher, student, labels))
        elif not axes:
            counts = f"{teacher.classes} and {student.classes}"
            classes = f"{counts} classes" if teacher.classes != student.classes else "different classes"
            reason = f"teacher and student distinguish {classes}"
            metrics = (*FIDELITIES, *RISKS, *MISMATCHES)
            failure = Failure(student.id, reason, "unavailable", metrics=metrics)
            findings += Findings(pairs=(fidelity.top1_drop(teacher, student),), failures=(failure,))
        findings += Findings(pairs=() if axes else flip_pairs(teacher, student, labels, analyses))
    for teacher, variant in () if axes else _compared(variants_with_teachers(models), predictions, ids):
        findings += Findings(pairs=(fidelity.top1_drop(teacher, variant),))
    for student, other in _compared(() if axes else _with_baselines(models, analyses), predictions, ids):
        findings += Findings(gain_measurements(student, other))
    for teacher, student, other in _compared(_contrasted(models, analyses), predictions, ids):
        if teacher.of_same_classes(student, other):
            findings += Findings(fidelity.mismatch_measurements(teacher, (student, other), true_labels, analyses, axes))
    return findings


def _contrasted(
    models: Sequence[BenchModel], analyses: Analyses
) -> Iterator[tuple[BenchModel, BenchModel, BenchModel]]:
    """Yield each teacher and student that have an independent student, with that student."""
    by_id = {model.id: model for model in models}
    for teacher, student in students(models):
        other = by_id.get(analyses.independent.get(student.id, ""))
        if other is not None and other.id not in {student.id, teacher.id}:
            yield teacher, student, other


def _with_baselines(models: Sequence[BenchModel], analyses: Analyses) -> Iterator[tuple[BenchModel, BenchModel]]:
    """Yield each model with each of its baselines."""
    by_id = {model.id: model for model in models}
    for model in models:
        for other in analyses.baselines.get(model.id, ()):
            if other in by_id:
                yield model, by_id[other]


def _compared(
    groups: Iterable[Sequence[BenchModel]], predictions: Mapping[str, Predictions], ids: Container[str]
) -> Iterator[list[Predictions]]:
    """Yield the predictions of each group (teacher, student, …) that are complete and whose student is in `ids`."""
    for group in groups:
        if group[1].id in ids and all(model.id in predictions for model in group):
            yield [predictions[model.id] for model in group]
