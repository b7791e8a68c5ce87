"""Predictions of models, computed in a measuring process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from kdbench import units
from kdbench.errors import InputError
from kdbench.evaluate.errors import PredictedNumbers
from kdbench.evaluate.predictions import Analyses, Predictions, TrainingImages, not_finite, with_finite_logits
from kdbench.files import storage
from kdbench.machine.cores import available_cores
from kdbench.measure.bench_model import BenchModel, TestSet
from kdbench.measure.context import Context
from kdbench.measure.staging import stage
from kdbench.measure.timed import ONNXRUNTIME, SEED
from kdbench.results.findings import Failure, Findings
from kdbench.results.records import Axes, Diagnostic
from kdbench.worker.faults import remedy
from kdbench.worker.jobs import LogitsJob
from kdbench.worker.process import WorkerError

Outcome = Predictions | PredictedNumbers | Failure
"""A model's result for a set of samples: class scores, the numbers of a regression, or the reason for having none."""

Predicted = TypeVar("Predicted", Predictions, PredictedNumbers)


def predict(
    context: Context,
    models: Sequence[BenchModel],
    test: TestSet,
    threads: int | None = None,
    batch: int | None = None,
    runtime: str = ONNXRUNTIME,
) -> dict[str, Outcome]:
    """Return each model's outcome for all samples of `test`, by id, from one process of `runtime`.

    threads: how many threads a model has, by default one per core.
    batch: the size of the batches. By default a model whose outputs depend on the batch runs at batch 1.

    In onnxruntime, models with one file, such as a pretrained teacher of several seeds, run only once. A model that
    fails, or ends the process, has a Failure; the others run again without it. Raises InputError if a model's outputs
    do not fit the labels.
    """
    if test.task == "classification":
        for model in (model for model in models if model.class_map is None):
            _require_classes(model, model.facts.classes, test)
    own = {model.id: model.id for model in models}
    ran_as = _first_of_each_file(context, models) if runtime == ONNXRUNTIME else own
    ids = dict.fromkeys(ran_as.values())
    files = {id_: context.folder / f"logits-{number}.npy" for number, id_ in enumerate(ids)}
    for file in files.values():
        file.unlink(missing_ok=True)  # one from before a crash would look like this run's
    provider = evaluation_provider(context) if runtime == ONNXRUNTIME else context.config.provider
    count = threads or len(available_cores())
    # Consecutive models with the same preparation share the prepared inputs.
    staged = sorted((context.jobs[id_] for id_ in files), key=lambda model: repr(model.preparation))
    job = LogitsJob(
        models=tuple(staged),
        files=tuple(str(files[model.id]) for model in staged),
        batches=tuple(batch or (1 if model.id in context.differing else None) for model in staged),
        runtime=runtime,
        provider=provider,
        threads=count,
    )
    failed, batches = dict[str, str](), dict[str, int]()
    try:
        if result := context.runner.run_remaining(job, failed, context.progress, pinned=False):
            failed, batches = failed | result["errors"], result["batches"]
    except WorkerError as error:
        failed |= {id_: error.message for id_, file in files.items() if not file.exists() and id_ not in failed}
    outcomes: dict[str, Outcome] = {}
    for model in models:
        id_ = ran_as[model.id]
        if id_ in failed:
            outcomes[model.id] = Failure(model.id, failed[id_], hint=remedy(failed[id_]))
            continue
        source = f"{runtime} {provider}, {units.threads(count)}, batch {batches.get(id_, '?')}"
        outcomes[model.id] = _outcome(model, np.load(files[id_]), test, source)
    for file in files.values():
        file.unlink(missing_ok=True)
    return outcomes


def _first_of_each_file(context: Context, models: Sequence[BenchModel]) -> dict[str, str]:
    """Return by each model's id that of the first model whose file and preparation are the same."""
    firsts: dict[tuple[object, ...], str] = {}
    ran_as = {}
    for model in models:
        job = context.jobs[model.id]
        how = (job.preparation, job.input, job.output, job.form, job.output_scale, job.fixed_batch)
        ran_as[model.id] = firsts.setdefault((model.facts.sha256, model.id in context.differing, *how), model.id)
    return ran_as


def findings_by_batch(
    context: Context,
    test: TestSet,
    predictions: Mapping[str, Predicted],
    difference: Callable[[Predicted, Predicted, int], str],
    evaluate: Callable[[Predicted, Axes], Findings],
) -> Findings:
    """Return the findings at axis `batch`, and a warning, for each model whose outputs depend on the batch.

    The batches are 1, like that of the numbers without this axis, and the largest one at which outputs differ.
    `difference` describes how the outputs at batch 1 and at that batch differ; it returns "" if they do not.
    """
    findings = Findings()
    for id_ in (id_ for id_ in context.differing if id_ in predictions):
        model = next(model for model in context.models if model.id == id_)
        single, largest = predictions[id_], max(context.differing[id_])
        outcome = predict(context, [model], test, batch=largest)[id_]
        if isinstance(outcome, Failure):
            findings += Findings(failures=(replace(outcome, axes={"batch": largest}),))
            continue
        assert isinstance(outcome, type(single))
        if message := difference(single, outcome, largest):
            findings += evaluate(single, {"batch": 1}) + evaluate(outcome, {"batch": largest})
            remedy = "export it in evaluation mode (model.eval()), or quantize it statically"
            warning = Diagnostic(code="batch_dependent", message=message, remedy=remedy, model=id_)
            findings += Findings(warnings=(warning,))
    return findings


def predict_training(
    context: Context, owners: Sequence[BenchModel], earlier: Mapping[str, Outcome], images: TrainingImages
) -> dict[str, Outcome]:
    """Predict training images with the owners, their teachers and their independent students; return outcomes by id.

    A model that failed on the test set (`earlier`) keeps its failure and does not run.
    """
    analyses, test = context.analyses, context.test
    assert test is not None
    ids = {id_ for owner in owners for id_ in (owner.id, owner.teacher, analyses.independent.get(owner.id))}
    failed = {id_: o for id_, o in earlier.items() if id_ in ids and isinstance(o, Failure)}
    models = [m for m in context.measurable if m.id in ids and m.id not in failed]
    if not models:
        return {**failed}
    training_set = TestSet(images.images, images.labels, test.classes, images.in_geometry)
    jobs = stage(models, training_set, storage.make_folder(context.folder), SEED)
    return {**failed, **predict(replace(context, jobs=jobs), models, training_set)}


def training_parts(models: Sequence[BenchModel], analyses: Analyses) -> list[tuple[TrainingImages, list[BenchModel]]]:
    """Return each set of training images once, with the models that were trained on it."""
    by_set: dict[int, tuple[TrainingImages, list[BenchModel]]] = {}
    for model in models:
        images = analyses.training.get(model.id)
        if images is not None and len(images.labels):
            by_set.setdefault(id(images), (images, []))[1].append(model)
    return list(by_set.values())


def _outcome(model: BenchModel, outputs: NDArray[np.generic], test: TestSet, source: str) -> Outcome:
    """Return a model's outputs (N, values) as predictions, or as a Failure if they are not finite."""
    class_map = model.class_map_of(outputs.shape[1])
    if test.task == "regression":
        targets = test.labels.shape[1]
        if outputs.shape[1] != targets:
            message = f"{model.name} predicts {outputs.shape[1]} numbers, but the data has {targets} targets"
            raise InputError(message, "choose the data set the model was made for, or its output with --output")
    else:
        outputs = with_finite_logits(outputs) if model.facts.output.scored_as == "logits" else outputs
        outputs = _in_order_of_classes(outputs, model, test)
        _require_classes(model, outputs.shape[1], test)
    if reason := not_finite(outputs):
        return Failure(model.id, reason, status="invalid", source=source)
    if test.task == "regression":
        return PredictedNumbers(model.card, outputs.astype(np.float64), source)
    meanings = None if class_map is None else class_map.meanings
    return Predictions.of(model.card, outputs, test.labels, source, model.facts.output.scored_as, meanings)


def evaluation_provider(context: Context) -> str:
    """Return the provider with which onnxruntime computes predictions: the configured one, or `cpu` if refused."""
    refused = any(ONNXRUNTIME in model.refused for model in context.models)
    return "cpu" if refused else context.config.provider


def _in_order_of_classes(logits: NDArray[np.generic], model: BenchModel, test: TestSet) -> NDArray[np.generic]:
    """Return logits (N, outputs) as (N, classes), in the order of the data's classes.

    Scores that were made from class numbers lack the columns of classes above the largest number: add these.
    """
    if model.class_map is not None:
        return model.class_map.arranged(logits, model.facts.output.scored_as, model.name)
    missing = (test.classes or int(test.labels.max()) + 1) - logits.shape[1]
    class_numbers = model.facts.output.form in {"class", "ranking"}
    return np.pad(logits, ((0, 0), (0, missing))) if class_numbers and missing > 0 else logits


def _require_classes(model: BenchModel, classes: int | None, test: TestSet) -> None:
    labelled = int(test.labels.max()) + 1
    differs = test.classes is not None and classes != test.classes and model.class_map is None
    if classes is not None and (classes < labelled or differs):
        count = f"at least {labelled}" if test.classes is None else str(test.classes)
        message = f"{model.name} distinguishes {classes} classes, but the data has {count}"
        raise InputError(message, "choose the data set that the model was made for")
