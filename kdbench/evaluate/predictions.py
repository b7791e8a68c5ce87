"""What models answer, and what that says of them: on the test set, and on images that they were trained on."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from kdbench import storage
from kdbench.evaluate.accuracy import Evaluation, accuracy_findings, evaluate, without_accuracy
from kdbench.evaluate.fidelity import fidelity_findings, without_fidelity
from kdbench.evaluate.findings import (
    calibration_findings,
    class_findings,
    mismatch_findings,
    noise_findings,
    risk_findings,
    without_risks,
)
from kdbench.evaluate.plan import TRAIN, Analyses, TrainingImages
from kdbench.machine.cores import available_cores
from kdbench.measure.bench_model import BenchModel, TestSet, students
from kdbench.measure.staging import stage
from kdbench.progress import SubProgress
from kdbench.results.findings import Findings
from kdbench.results.records import missing
from kdbench.results.samples import correct_key
from kdbench.worker.jobs import JobModel


def answer_findings(
    subjects: Sequence[BenchModel],
    models: Mapping[str, JobModel],
    test: TestSet | None,
    analyses: Analyses,
    provider: str,
    folder: Path,
    progress: SubProgress,
) -> Findings:
    """Return everything that logits tell: accuracy of every subject, fidelity of every student, and `analyses`.

    Each set of images is one measuring process. Without a test set nothing is asked, and the record says why.
    Raises InputError where a model's classes do not fit the labels.
    """
    if test is None:
        return _nothing(subjects, "no test data was given")
    parts = _parts(subjects, analyses)
    watches = _shared_out(progress, [len(test.labels), *(len(images.given) for images, _ in parts)])
    evaluations = evaluate(subjects, models, test, provider, len(available_cores()), folder, watches[0])
    found = _of_test(subjects, test, evaluations, analyses) + Findings(
        samples={correct_key(id_): each.ranks == 0 for id_, each in evaluations.items() if each.ranks is not None},
        protocol={"test_set_sha256": test.sha256()},
    )
    for (images, owners), watch in zip(parts, watches[1:], strict=True):
        asked = _asked(subjects, owners, analyses)
        answers = _evaluate_sound(asked, evaluations, images, test.classes, provider, folder / "training", watch)
        found += _of_training(subjects, owners, images, answers, analyses)
    return found


def _of_test(
    subjects: Sequence[BenchModel], test: TestSet, evaluations: Mapping[str, Evaluation], analyses: Analyses
) -> Findings:
    found = Findings()
    for subject in subjects:
        evaluation = evaluations[subject.id]
        found += accuracy_findings(subject, evaluation, test.labels)
        found += calibration_findings(subject, evaluation, test.labels)
        found += class_findings(subject, evaluation, test.labels, analyses)
    for teacher, student in students(subjects):
        found += fidelity_findings(teacher, student, evaluations, std=analyses.std)
        found += risk_findings(teacher, student, evaluations, test.labels)
    for teacher, pair in _contrasted(subjects, analyses):
        found += mismatch_findings(teacher, pair, evaluations, test.labels, analyses)
    return found


def _of_training(
    subjects: Sequence[BenchModel],
    owners: Sequence[BenchModel],
    images: TrainingImages,
    evaluations: Mapping[str, Evaluation],
    analyses: Analyses,
) -> Findings:
    """Return what is said of the `owners`, the models that were trained on the images."""
    found = Findings()
    ids = {subject.id for subject in owners}
    for subject in owners:
        found += noise_findings(subject, evaluations[subject.id], images)
    if not images.drawn.any():
        return found
    drawn = {id_: evaluation.only(images.drawn) for id_, evaluation in evaluations.items()}
    given, true = images.given[images.drawn], images.true[images.drawn]
    for subject in owners:
        found += accuracy_findings(subject, drawn[subject.id], given, TRAIN)
        found += calibration_findings(subject, drawn[subject.id], given, TRAIN)
    for teacher, student in students(subjects):
        if student.id in ids:
            found += fidelity_findings(teacher, student, drawn, TRAIN, analyses.std)
    for teacher, pair in _contrasted(subjects, analyses):
        if pair[0].id in ids:
            found += mismatch_findings(teacher, pair, drawn, true, analyses, TRAIN)
    return found


def _nothing(subjects: Sequence[BenchModel], reason: str) -> Findings:
    found = Findings()
    for subject in subjects:
        found += without_accuracy(subject, reason, "unavailable")
        found += Findings(tuple(missing(subject.id, metric, reason) for metric in ("ece", "class_top1")))
    for teacher, student in students(subjects):
        found += without_fidelity(teacher, student, reason, "unavailable")
        found += without_risks(student, reason, "unavailable")
    return found


def _parts(subjects: Sequence[BenchModel], analyses: Analyses) -> list[tuple[TrainingImages, list[BenchModel]]]:
    """Return each set of training images once, with the subjects that were trained on it."""
    by_set: dict[int, tuple[TrainingImages, list[BenchModel]]] = {}
    for subject in subjects:
        images = analyses.training.get(subject.id)
        if images is not None and len(images.given):
            by_set.setdefault(id(images), (images, []))[1].append(subject)
    return list(by_set.values())


def _asked(subjects: Sequence[BenchModel], owners: Sequence[BenchModel], analyses: Analyses) -> list[BenchModel]:
    """Return the owners, and whom they are compared and contrasted with."""
    ids = {id_ for owner in owners for id_ in (owner.id, owner.teacher, analyses.independent.get(owner.id))}
    return [subject for subject in subjects if subject.id in ids]


def _evaluate_sound(
    asked: Sequence[BenchModel],
    earlier: Mapping[str, Evaluation],
    images: TrainingImages,
    classes: int | None,
    provider: str,
    folder: Path,
    progress: SubProgress,
) -> dict[str, Evaluation]:
    """Run the subjects over training images; one that had no answers to the test set is not asked again."""
    part = TestSet(images.images, images.given, classes)
    sound = [subject for subject in asked if earlier[subject.id].logits is not None]
    failed = {subject.id: earlier[subject.id] for subject in asked if subject not in sound}
    if not sound:
        return failed
    models = stage(sound, part, storage.make_folder(folder), seed=0)  # the seed is of noise, for want of images
    return failed | evaluate(sound, models, part, provider, len(available_cores()), folder, progress)


def _contrasted(
    subjects: Sequence[BenchModel], analyses: Analyses
) -> Iterator[tuple[BenchModel, tuple[BenchModel, BenchModel]]]:
    """Yield the teacher, and the student with its independent one, wherever all three are measured."""
    by_id = {subject.id: subject for subject in subjects}
    for teacher, student in students(subjects):
        other = by_id.get(analyses.independent.get(student.id, ""))
        if other is not None and other.id not in {student.id, teacher.id}:
            yield teacher, (student, other)


def _shared_out(progress: SubProgress, sizes: Sequence[int]) -> list[SubProgress]:
    """Return the watchers of passes over so many images, one after the other."""
    ends = [sum(sizes[:number]) / sum(sizes) for number in range(len(sizes) + 1)]
    details = ("", *["training images"] * (len(sizes) - 1))
    return [
        SubProgress(progress, start, end, detail) for (start, end), detail in zip(pairwise(ends), details, strict=True)
    ]
