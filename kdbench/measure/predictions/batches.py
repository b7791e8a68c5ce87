"""A check before the passes: at which batches each model runs, and at which its outputs differ."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kdbench.machine.cores import available_cores
from kdbench.measure.bench_model import BenchModel
from kdbench.measure.context import Context
from kdbench.measure.predictions.predict import evaluation_provider
from kdbench.results.records import Diagnostic
from kdbench.worker.jobs import BatchesJob

_SAMPLES = 32  # number of samples whose outputs are compared between batches
_HINT = "export it with an open batch axis: dynamic_axes, or dynamic_shapes"
_TRIAL_S = 0.5  # estimate for one model


@dataclass(frozen=True)
class _Trial:
    """The result of calling one model at several batches.

    errors: why it does not run, by batch.
    differing: how many outputs differ from those at batch 1, by batch.
    running: the batches at which it runs.
    """

    errors: Mapping[int, str]
    differing: Mapping[int, int]
    running: tuple[int, ...] = ()

    @property
    def fixed_batch(self) -> int | None:
        """The smallest batch at which the model runs, if it fails at another one; otherwise None."""
        return min(self.running) if self.errors and self.running else None


def determine_batches(context: Context) -> tuple[Context, tuple[Diagnostic, ...]]:
    """Return the context with models' fixed batches and the batches that change their outputs, and the warnings.

    Models with an open batch are called at batch 1 and the largest configured one. A model that fails at either is
    measured as a model of the smallest batch at which it runs. A model that does not run at all stays unchanged, and
    every pass reports why it fails.
    """
    batches = tuple(sorted({1, *context.config.batch}))
    open_models = [m for m in context.measurable if m.facts.fixed_batch is None and (m.timed or context.test)]
    if not open_models:
        return context, ()
    trials = _try_batches(context, open_models, (batches[0], batches[-1]))
    models, warnings = [], []
    jobs, differing = dict(context.jobs), {}
    for model in context.models:
        trial = trials.get(model.id)
        if trial is not None and not trial.errors and not trial.differing and model.facts.dynamic_quantization:
            # A range of activations is that of the whole batch: other samples may differ even if these few do not.
            trial = replace(trial, differing={batches[-1]: 0})
        if trial is None or not (trial.errors or trial.differing):
            models.append(model)
            continue
        if trial.fixed_batch is not None:
            model = replace(model, facts=replace(model.facts, fixed_batch=trial.fixed_batch))  # noqa: PLW2901
            jobs[model.id] = replace(jobs[model.id], fixed_batch=trial.fixed_batch)
            warnings.append(_fixed_batch_warning(model, trial))
        elif not trial.errors:
            differing[model.id] = dict(trial.differing)
        models.append(model)
    return replace(context, models=models, jobs=jobs, differing=differing), tuple(warnings)


def batches_s(context: Context) -> float:
    """Return the estimated seconds that `determine_batches` takes."""
    return _TRIAL_S * len(context.measurable)


def _try_batches(context: Context, models: list[BenchModel], batches: tuple[int, ...]) -> dict[str, _Trial]:
    """Call the models at `batches` in one measuring process; a model that ends it has an error at every batch."""
    failed: dict[str, str] = {}
    samples = _SAMPLES if context.test is not None else 1
    provider, threads = evaluation_provider(context), len(available_cores())
    ids = [model.id for model in models]
    jobs = tuple(context.jobs[id_] for id_ in ids)
    job = BatchesJob(models=jobs, batches=batches, samples=samples, provider=provider, threads=threads)
    result = context.runner.run_remaining(job, failed, context.progress, pinned=False)
    trials = {id_: _Trial(dict.fromkeys(batches, reason), {}) for id_, reason in failed.items()}
    for id_ in (id_ for id_ in ids if id_ not in failed):
        assert result is not None
        errors = {int(batch): reason for batch, reason in result["errors"].get(id_, {}).items()}
        counts = {int(batch): count for batch, count in result["differing"].get(id_, {}).items()}
        running = tuple(result["running"].get(id_, ()))
        trials[id_] = _Trial({b: r for b, r in errors.items() if b in batches}, counts, running)
    return trials


def _fixed_batch_warning(model: BenchModel, trial: _Trial) -> Diagnostic:
    error = trial.errors[min(trial.errors)]
    message = f"{model.name} declares a dynamic batch, but runs at batch {trial.fixed_batch} only: {error}"
    return Diagnostic(code="fixed_batch", message=message, remedy=_HINT, model=model.id)
