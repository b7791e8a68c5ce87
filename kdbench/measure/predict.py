"""Running models over images in a measuring process, to get their predictions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kdbench import units
from kdbench.errors import InputError
from kdbench.evaluate.predictions import Predictions, not_finite
from kdbench.machine.cores import available_cores
from kdbench.measure.bench_model import BenchModel, TestSet
from kdbench.measure.context import ONNXRUNTIME, Context
from kdbench.results.findings import Failure
from kdbench.worker.faults import remedy
from kdbench.worker.jobs import LogitsJob
from kdbench.worker.process import WorkerError

Outcome = Predictions | Failure


def predict(
    context: Context, models: Sequence[BenchModel], test: TestSet, threads: int | None = None, batch: int | None = None
) -> dict[str, Outcome]:
    """Run the models over all images of `test` in one measuring process with `threads` (default: all cores); by id.

    A model whose answers depend on the batch runs at batch 1; `batch` overrides that. A model that fails, or ends the
    process, has a Failure; the others run again without it. Raises InputError if a model's classes do not fit the
    labels.
    """
    for model in (model for model in models if model.class_map is None):
        _require_classes(model, model.facts.classes, test)
    files = {model.id: context.folder / f"logits-{number}.npy" for number, model in enumerate(models)}
    for file in files.values():
        file.unlink(missing_ok=True)  # a file left by a crash must not pass for this run's
    provider, count = evaluation_provider(context), threads or len(available_cores())
    # Models that take the same inputs are neighbours, which share them.
    jobs = sorted((context.jobs[id_] for id_ in files), key=lambda job: repr(job.preparation))

    def job_for(alive: Sequence[str]) -> LogitsJob | None:
        left = tuple(job for job in jobs if job.id in alive and not files[job.id].exists())
        paths = tuple(str(files[job.id]) for job in left)
        sizes = tuple(batch or (1 if job.id in context.differing else None) for job in left)
        if not left:
            return None
        return LogitsJob(models=left, files=paths, batches=sizes, provider=provider, threads=count)

    failed, batches = dict[str, str](), dict[str, int]()
    try:
        if result := context.runner.run_surviving(files, job_for, failed, context.progress, pinned=False):
            failed, batches = failed | result["errors"], result["batches"]
    except WorkerError as error:
        failed |= {id_: error.message for id_, file in files.items() if not file.exists() and id_ not in failed}
    outcomes: dict[str, Outcome] = {}
    for model in models:
        if model.id in failed:
            outcomes[model.id] = Failure(model.id, failed[model.id], hint=remedy(failed[model.id]))
            continue
        logits = _in_order_of_classes(np.load(files[model.id]), model, test)
        files[model.id].unlink()
        _require_classes(model, logits.shape[1], test)
        source = f"onnxruntime {provider}, {units.threads(count)}, batch {batches.get(model.id, '?')}"
        if reason := not_finite(logits):
            outcomes[model.id] = Failure(model.id, reason, status="invalid", source=source)
        else:
            form = model.facts.output.scored_as
            meanings = model.class_map.meanings if model.class_map is not None else None
            outcomes[model.id] = Predictions.of(model.card, logits, test.labels, source, form, meanings)
    return outcomes


def evaluation_provider(context: Context) -> str:
    """Return where onnxruntime computes predictions: on the CPU if it cannot use the configured provider."""
    refused = any(ONNXRUNTIME in model.refused for model in context.models)
    return "cpu" if refused else context.config.provider


def _in_order_of_classes(logits: NDArray[np.generic], model: BenchModel, test: TestSet) -> NDArray[np.generic]:
    """Return logits (N, outputs) as (N, classes), in the order of the data's classes.

    An output that is a number of a class never named some of them: these get columns as well.
    """
    if model.class_map is not None:
        return model.class_map.arranged(logits, model.facts.output.scored_as)
    missing = (test.classes or int(test.labels.max()) + 1) - logits.shape[1]
    numbers = model.facts.output.form in {"class", "ranking"}
    return np.pad(logits, ((0, 0), (0, missing))) if numbers and missing > 0 else logits


def _require_classes(model: BenchModel, classes: int | None, test: TestSet) -> None:
    labelled = int(test.labels.max()) + 1
    differ = test.classes is not None and classes != test.classes and model.class_map is None
    if classes is not None and (classes < labelled or differ):
        has = f"at least {labelled}" if test.classes is None else str(test.classes)
        message = f"{model.name} distinguishes {classes} classes, but the data has {has}"
        raise InputError(message, "choose the data set that the model was made for")
