"""Checks before anything is measured: at which batches each model runs, and at which its outputs differ."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kdbench.machine.cores import available_cores
from kdbench.measure.bench_model import BenchModel
from kdbench.measure.context import Context
from kdbench.measure.predictions.predict import evaluation_provider
from kdbench.results.records import Diagnostic
from kdbench.worker.jobs import BatchesJob

_SAMPLES = 32  # whose outputs are compared
_HINT = "export it with an open batch axis: dynamic_axes, or dynamic_shapes"
_SECONDS = 0.5  # of one model, about


@dataclass(frozen=True)
class _Trial:
    """The result of calling one model at several batches: why it does not run, and how many outputs differ."""

    errors: Mapping[int, str]
    differing: Mapping[int, int]
    running: tuple[int, ...] = ()

    @property
    def only(self) -> int | None:
        """The smallest batch at which the model runs while it fails at others; None if there is no such batch."""
        return min(self.running) if self.errors and self.running else None


def determine_batches(context: Context) -> tuple[Context, tuple[Diagnostic, ...]]:
    """Return the context with the batches that models run at and those that change their outputs, and the warnings.

    A model that runs at one of the batches 1 and the largest counts as one of that fixed batch. A model that runs at
    none gets a reason from every pass.
    """
    batches = tuple(sorted({1, *context.config.batch}))
    open_models = [m for m in context.measurable if m.facts.fixed_batch is None and (m.timed or context.test)]
    if not open_models:
        return context, ()
    trials = _try(context, open_models, (batches[0], batches[-1]))
    models, warnings = [], []
    jobs, differing = dict(context.jobs), {}
    for model in context.models:
        trial = trials.get(model.id)
        if trial is not None and not trial.errors and not trial.differing and model.facts.dynamic_quantization:
            # Ranges of activations are of the whole batch: what the few samples do not show, others may.
            trial = replace(trial, differing={batches[-1]: 0})
        if trial is None or not (trial.errors or trial.differing):
            models.append(model)
            continue
        if trial.only is not None:
            model = replace(model, facts=replace(model.facts, fixed_batch=trial.only))  # noqa: PLW2901
            jobs[model.id] = replace(jobs[model.id], fixed_batch=trial.only)
            warnings.append(_one_batch(model, trial))
        elif not trial.errors:
            differing[model.id] = dict(trial.differing)
        models.append(model)
    return replace(context, models=models, jobs=jobs, differing=differing), tuple(warnings)


def batches_s(context: Context) -> float:
    """Return about how many seconds `determine_batches` takes."""
    return _SECONDS * len(context.measurable)


def _try(context: Context, models: list[BenchModel], batches: tuple[int, ...]) -> dict[str, _Trial]:
    """Call the models at `batches` in one measuring process; a model that ends it has an error at each."""
    failed: dict[str, str] = {}
    samples = _SAMPLES if context.test is not None else 1
    provider, threads = evaluation_provider(context), len(available_cores())
    ids = [model.id for model in models]
    jobs = tuple(context.jobs[id_] for id_ in ids)
    job = BatchesJob(models=jobs, batches=batches, samples=samples, provider=provider, threads=threads)
    result = context.runner.run_surviving(job, failed, context.progress, pinned=False)
    trials = {id_: _Trial(dict.fromkeys(batches, reason), {}) for id_, reason in failed.items()}
    for id_ in (id_ for id_ in ids if id_ not in failed):
        assert result is not None
        errors = {int(batch): reason for batch, reason in result["errors"].get(id_, {}).items()}
        counts = {int(batch): count for batch, count in result["differing"].get(id_, {}).items()}
        running = tuple(result["running"].get(id_, ()))
        trials[id_] = _Trial({b: r for b, r in errors.items() if b in batches}, counts, running)
    return trials


def _one_batch(model: BenchModel, trial: _Trial) -> Diagnostic:
    other = min(trial.errors)
    message = f"{model.name} declares a dynamic batch, but runs at batch {trial.only} only: {trial.errors[other]}"
    return Diagnostic(code="fixed_batch", message=message, remedy=_HINT, model=model.id)
