"""Predictions of models in the other runtimes that run their files: accuracy or errors, and the share that changes.

`admission` compares a few samples; this module runs the whole test set.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from kdbench import statistics
from kdbench.evaluate.accuracy import accuracy_findings
from kdbench.evaluate.errors import ERRORS, PredictedNumbers, error_measurements
from kdbench.evaluate.predictions import Predictions
from kdbench.measure.bench_model import TestSet
from kdbench.measure.context import Context, Expected, expected_of
from kdbench.measure.predictions.predict import Outcome, predict
from kdbench.progress import SubProgress
from kdbench.results.findings import Failure, Findings, estimated
from kdbench.results.metrics import metrics_in
from kdbench.results.runtimes import RUNTIMES, USUAL_RUNTIME

_ACCURACIES = (*metrics_in("accuracy"), "answers_changed")


def file_runtimes(context: Context) -> list[str]:
    """Return the other configured runtimes that run the models' files."""
    return [name for name in context.config.runtime if name != USUAL_RUNTIME and RUNTIMES[name].runs == "file"]


def expected_by_runtime(context: Context) -> Iterator[Expected]:
    """Yield the accuracies, or errors for a regression, of every timed model in each of `file_runtimes`."""
    regression = context.test is not None and context.test.task == "regression"
    for name in file_runtimes(context):
        metrics = ERRORS if regression else _ACCURACIES
        yield from expected_of(context.timed, metrics, {"runtime": name}, name)


def findings_by_runtime(context: Context, test: TestSet, usual: Mapping[str, Outcome]) -> Findings:
    """Return the accuracies or errors at axis `runtime`; `usual` are the outcomes in onnxruntime, by model."""
    findings, names = Findings(), file_runtimes(context)
    progress = SubProgress(context.progress, 0, 1, "")
    for number, name in enumerate(names):
        part = replace(context, progress=progress.part(number, len(names), name))
        models = [m for m in context.timed if m.refusal_in(name) is None and not isinstance(usual.get(m.id), Failure)]
        for id_, outcome in predict(part, models, test, runtime=name).items() if models else ():
            findings += _outcome_findings(outcome, usual[id_], test, {"runtime": name})
    return findings


def _outcome_findings(outcome: Outcome, usual: Outcome, test: TestSet, axes: dict[str, str | int]) -> Findings:
    if isinstance(outcome, Failure):
        return Findings(failures=(replace(outcome, axes=axes),))
    if isinstance(outcome, PredictedNumbers):
        return Findings(error_measurements(outcome, test.labels, axes))
    assert isinstance(usual, Predictions)
    changed = int((outcome.predicted != usual.predicted).sum())
    share = statistics.binomial_share(changed, len(test.labels))
    scores = accuracy_findings(outcome, test.labels, axes).measurements
    return Findings(
        (
            *(m for m in scores if m.metric in _ACCURACIES),
            estimated(outcome.id, "answers_changed", share, axes=axes, source=outcome.source),
        )
    )
