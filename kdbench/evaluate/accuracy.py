"""Top-1, top-5 and loss on a test set, from the logits that the exported file gives through onnxruntime."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdbench import statistics, units
from kdbench.errors import InputError
from kdbench.evaluate.divergence import log_softmax
from kdbench.evaluate.risk import empirical_risks
from kdbench.measure.bench_model import BenchModel, TestSet
from kdbench.progress import SubProgress
from kdbench.results.findings import Findings, interval_of
from kdbench.results.metrics import metrics_in
from kdbench.results.records import Axes, Diagnostic, Measurement, Status, measured, missing
from kdbench.worker.jobs import JobModel
from kdbench.worker.process import WorkerError, run_job

ACCURACIES = metrics_in("accuracy")


@dataclass(frozen=True)
class Evaluation:
    """What one model said about the test set: `logits` (N, classes) and the labels' `ranks` (N,) among them.

    Both are None where there are none that count: `reason` then says why and `status` how that is recorded.
    `source` says how the model was run.
    """

    logits: NDArray[np.generic] | None = None
    ranks: NDArray[np.int64] | None = None
    source: str | None = None
    status: Status = "ok"
    reason: str = ""
    are_probabilities: bool = False

    def log_probabilities(self) -> NDArray[np.float64]:
        """Return log p, float64 (N, classes): a stable log-softmax of the logits, or the log of probabilities."""
        assert self.logits is not None
        if self.are_probabilities:
            return np.log(np.maximum(self.logits.astype(np.float64), np.finfo(np.float32).tiny))
        return log_softmax(self.logits)

    def only(self, samples: NDArray[np.bool_]) -> "Evaluation":
        """Return what the model said about some of the samples, (N,)."""
        if self.logits is None or self.ranks is None:
            return self
        return replace(self, logits=self.logits[samples], ranks=self.ranks[samples])


def evaluate(
    subjects: Sequence[BenchModel],
    models: Mapping[str, JobModel],
    test: TestSet,
    provider: str,
    cores: int,
    folder: Path,
    progress: SubProgress,
) -> dict[str, Evaluation]:
    """Run every subject over the whole test set in one measuring process, with all `cores`; by id.

    A subject that fails, or that takes the process down with it, gets an Evaluation that says so; the others are
    run again without it. Raises InputError where a model's classes do not fit the labels.
    """
    for subject in subjects:
        _require_classes(subject, subject.facts.classes, test)
    files = {s.id: folder / f"logits-{number}.npy" for number, s in enumerate(subjects)}
    failed, batches = _run(_neighbours(models, subjects), files, provider, cores, folder, progress)
    found = {}
    for subject in subjects:
        if subject.id in failed:
            found[subject.id] = Evaluation(status="error", reason=failed[subject.id])
            continue
        logits = np.load(files[subject.id])
        files[subject.id].unlink()
        _require_classes(subject, logits.shape[1], test)
        source = f"onnxruntime {provider}, {units.threads(cores)}, batch {batches.get(subject.id, '?')}"
        found[subject.id] = judge(logits, test.labels, source)
    return found


def judge(logits: NDArray[np.generic], labels: NDArray[np.int64], source: str | None = None) -> Evaluation:
    """Return the evaluation of `logits` (N, classes), or of probabilities given in their place, against `labels`."""
    bad = int((~np.isfinite(logits.astype(np.float64))).any(axis=1).sum())
    if bad:
        return Evaluation(
            source=source, status="invalid", reason=f"{bad} of {len(logits)} outputs hold NaN or infinity"
        )
    return Evaluation(logits, label_ranks(logits, labels), source, are_probabilities=_are_probabilities(logits))


def label_ranks(logits: NDArray[np.generic], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many classes rank before each label, (N,); of equal logits the lower index is first, as in argmax."""
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    ranks: NDArray[np.int64] = (np.greater(logits, own) | (np.equal(logits, own) & earlier)).sum(axis=1)
    return ranks


def accuracy_findings(
    subject: BenchModel, evaluation: Evaluation, labels: NDArray[np.int64], axes: Axes | None = None
) -> Findings:
    """Return top-1, top-5 and loss of one subject with their intervals, at `axes` where not on the test set."""
    ranks = evaluation.ranks
    if ranks is None:
        return without_accuracy(subject, evaluation.reason, evaluation.status, evaluation.source, axes)
    logs = evaluation.log_probabilities()
    losses = empirical_risks(logs, labels)
    classes = logs.shape[1]
    top5 = (
        _estimated(subject, "top5", statistics.binomial_share(int((ranks < 5).sum()), len(ranks)), evaluation, axes)
        if classes >= 5
        else missing(subject.id, "top5", f"the model has {classes} classes", axes=axes, source=evaluation.source)
    )
    top1 = statistics.binomial_share(int((ranks == 0).sum()), len(ranks))
    measurements = (
        _estimated(subject, "top1", top1, evaluation, axes),
        top5,
        _estimated(subject, "loss", statistics.mean(losses), evaluation, axes),
    )
    warned = evaluation.are_probabilities and not axes  # once
    return Findings(measurements, warnings=_probability_warning(subject) if warned else ())


def without_accuracy(
    subject: BenchModel, reason: str, status: Status, source: str | None = None, axes: Axes | None = None
) -> Findings:
    """Return top-1, top-5 and loss without a number, and the reason."""
    return Findings(tuple(missing(subject.id, m, reason, status=status, source=source, axes=axes) for m in ACCURACIES))


def _estimated(
    subject: BenchModel, metric: str, estimate: statistics.Estimate, evaluation: Evaluation, axes: Axes | None
) -> Measurement:
    bounds = interval_of(estimate)
    return measured(
        subject.id, metric, estimate.value, axes=axes, interval=bounds, n=estimate.n, source=evaluation.source
    )


def _probability_warning(subject: BenchModel) -> tuple[Diagnostic, ...]:
    return (
        Diagnostic(
            code="probabilities",
            message="the output is already probabilities; loss and KL are taken of their logarithm as it stands",
            remedy="export the logits, before the softmax, for a loss without rounding",
            model=subject.id,
        ),
    )


def _are_probabilities(logits: NDArray[np.generic]) -> bool:
    tolerance = 1e-2 if logits.dtype.itemsize < 4 else 1e-3
    values = logits.astype(np.float64)
    return bool((values >= 0).all() and np.allclose(values.sum(axis=1), 1, rtol=0, atol=tolerance))


def _require_classes(subject: BenchModel, classes: int | None, test: TestSet) -> None:
    labelled = int(test.labels.max()) + 1
    if classes is not None and (classes < labelled or (test.classes is not None and classes != test.classes)):
        has = f"at least {labelled}" if test.classes is None else str(test.classes)
        raise InputError(
            f"{subject.card.name} tells {classes} classes apart, but the data has {has}",
            "choose the data set the model was made for",
        )


def _neighbours(models: Mapping[str, JobModel], subjects: Sequence[BenchModel]) -> list[JobModel]:
    """Return the subjects' models, those that take the same inputs next to each other."""
    return sorted((models[s.id] for s in subjects), key=lambda model: repr(model.preparation))


def _run(
    todo: list[JobModel], files: Mapping[str, Path], provider: str, cores: int, folder: Path, progress: SubProgress
) -> tuple[dict[str, str], dict[str, int]]:
    """Write the logits of every model to its file; return the reasons of those that failed, and the batch sizes."""
    for file in files.values():
        file.unlink(missing_ok=True)  # a file that is there after a crash must be of this pass
    failed: dict[str, str] = {}
    batches: dict[str, int] = {}
    while todo:
        job = {
            "probe": "logits",
            "models": [model.to_json() for model in todo],
            "files": [str(files[model.id]) for model in todo],
            "provider": provider,
            "threads": cores,
        }
        try:
            result = run_job(job, folder, progress, threads=1)
        except WorkerError as error:
            done = {model.id for model in todo if files[model.id].exists()}
            blamed = {error.model} if error.model else {model.id for model in todo} - done
            failed |= dict.fromkeys(blamed, error.message)
            todo = [model for model in todo if model.id not in done | blamed]
        else:
            failed |= result["errors"]
            batches |= result["batches"]
            todo = []
    return failed, batches
