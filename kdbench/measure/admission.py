"""Admission: tries in separate processes, before anything is timed, which runtimes can run which models.

A runtime is admitted if its outputs equal those of onnxruntime for the file, within a tolerance. It may run the file
itself or the network that the file was exported from.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench import extras
from kdbench.errors import InputError, MeasurementError
from kdbench.evaluate.predictions import with_finite_logits
from kdbench.machine.lock import machine_lock
from kdbench.measure.bench_model import BenchModel, Refusal
from kdbench.measure.context import Context, Start
from kdbench.measure.forms import file_in
from kdbench.measure.runner import Runner
from kdbench.measure.staging import null_model, save_images, stage
from kdbench.measure.timed import ONNXRUNTIME, SEED
from kdbench.modelfile.formats.tflite import output_step as tflite_step
from kdbench.modelfile.rounding import output_step
from kdbench.processes import temporary
from kdbench.progress import Progress, Silent
from kdbench.recipe.tables.measure import Measure
from kdbench.results import metrics
from kdbench.results.runtimes import RUNTIMES
from kdbench.worker.jobs import AdmissionJob, JobModel
from kdbench.worker.web import installed as web

_Trial = tuple[dict[str, Any], NDArray[np.generic]]  # a process's result, and the logits
_IMAGES = 16
# The tolerance for a quantized output, in its steps: ResNet-20 in INT8 differed by at most 5 steps in OpenVINO over
# 1000 images, and by a hundred with a wrong input.
_STEPS = 8
_DEVIATES: Mapping[str, str] = {
    "network": "the weights come from another training than the file: export it again",
    "file": "this runtime computes other outputs from the file: do not deploy the file there, or try another version",
    "form": "convert it again; a quantized file needs an ONNX file of its own, which tf2onnx makes with --tflite",
}
_TRIAL_S = 4.0  # estimate for one model in one runtime


def require_runtimes(config: Measure, progress: Progress) -> None:
    """Raise InputError if none of the configured runtimes can use the provider here, or one's library is missing.

    If the check has to start processes, it first waits for other measurements on this machine.
    """
    kinds = [RUNTIMES[name] for name in config.runtime]
    absent = [kind for kind in kinds if kind.extra and extras.missing(kind.extra)]
    extras.require_all([kind.extra for kind in absent], f"measuring in {', '.join(kind.name for kind in absent)}")
    for kind in kinds:
        if kind.program:
            web.require(kind.program)
    if _uncertain([ONNXRUNTIME, *config.runtime], config):
        with machine_lock(progress):
            absent_runtimes(config)


def absent_runtimes(config: Measure) -> dict[str, Refusal]:
    """Return which runtimes, onnxruntime included, cannot use the configured provider on this machine.

    Raises InputError if none of the configured ones can.
    """
    with temporary.folder() as folder:
        absent = unavailable(config, dict.fromkeys([ONNXRUNTIME, *config.runtime]), folder)
    refused = {name: refusal for name, refusal in absent.items() if name in config.runtime}
    if len(refused) < len(config.runtime):
        return absent
    first = refused[config.runtime[0]]
    if len(refused) == 1:
        raise InputError(first.reason, first.hint or "")
    reasons = "; ".join(f"{name}: {refusal.reason}" for name, refusal in refused.items())
    raise InputError(f"no runtime can use {config.provider} on this machine: {reasons}", first.hint or "")


def unavailable(config: Measure, names: Iterable[str], folder: Path) -> dict[str, Refusal]:
    """Return which runtimes cannot use the configured provider on this machine, for any model.

    Each is tried with a model that computes nothing, because what a library reports about itself is not reliable.
    onnxruntime on the CPU needs no trial.
    """
    if not (uncertain := _uncertain(names, config)):
        return {}
    images = save_images(folder / "null.npy", np.zeros((1, 1, 1, 1), np.uint8))
    null = replace(null_model(folder), images=str(images))
    results = {name: _run(name, null, config, folder) for name in uncertain}
    return {name: result for name, result in results.items() if isinstance(result, Refusal)}


def require_answer(model: BenchModel) -> None:
    """Raise InputError for a file that onnxruntime cannot load and call, or that does not return in time.

    The file is called with noise in a separate process, because a file of unknown origin may need any time or memory,
    and a process can be ended.
    """
    with temporary.folder() as folder:
        job = stage([model], None, folder, SEED)[model.id]
        result = _run(ONNXRUNTIME, _with_few_images(job, folder, model.facts.fixed_batch or 1), Measure(), folder)
    if isinstance(result, Refusal):
        raise InputError(f"{model.path}: {result.reason}", result.hint or "check it with `kdbench bench`")


def _with_few_images(job: JobModel, folder: Path, images: int = _IMAGES) -> JobModel:
    """Return a model on the first few of its images."""
    few = np.load(job.images, mmap_mode="r")[:images]
    return replace(job, images=str(save_images(folder / f"few-{Path(job.images).name}", few)))


def admit(context: Context, absent: Mapping[str, Refusal]) -> Context:
    """Return the context with models that note which configured runtimes refuse them; `absent` ones refuse all.

    onnxruntime is not tried: the file is made for it.
    """
    refused = {model.id: dict(absent) for model in context.models}
    starts: dict[tuple[str, str], Start] = {}
    facts: dict[str, Any] = {}
    others = [name for name in context.config.runtime if name != ONNXRUNTIME and name not in absent]
    models = [model for model in context.timed if model.refusal is None]
    unfit, jobs = _with_converted_files(others, models, context)
    tried = [m.id for m in models if any((name, m.id) not in unfit for name in others)]
    trial_jobs = {id_: _with_few_images(jobs[id_], context.folder) for id_ in tried}
    on_cpu = context.config.model_copy(update={"provider": "cpu"})
    expected = {id_: _run(ONNXRUNTIME, job, on_cpu, context.folder) for id_, job in trial_jobs.items()}
    for number, (name, model) in enumerate(product(others, models)):
        context.progress.step(number, len(others) * len(models))
        refusal = unfit.get((name, model.id))
        result = refusal or _try(name, trial_jobs[model.id], expected[model.id], model, context)
        if isinstance(result, Refusal):
            refused[model.id][name] = result
            continue
        starts[name, model.id], runtime_facts, kernels = result
        reported = facts.setdefault(name, dict(runtime_facts))
        if kernels:
            reported.setdefault("kernels", {})[model.id] = kernels
    admitted = [replace(model, refused=refused[model.id]) for model in context.models]
    return replace(context, models=admitted, jobs=jobs, starts=starts, runtime_facts=facts)


def admission_s(context: Context) -> float:
    """Return the estimated seconds that `admit` takes."""
    others = [name for name in context.config.runtime if name != ONNXRUNTIME]
    return _TRIAL_S * len(others) * len(context.timed)


def _with_converted_files(
    names: Iterable[str], models: Sequence[BenchModel], context: Context
) -> tuple[dict[tuple[str, str], Refusal], dict[str, JobModel]]:
    """Return which models lack the network or file that a runtime takes, by its name and theirs, and the models' jobs.

    The jobs name the files in the forms that the runtimes take, as far as there are any.
    """
    refused: dict[tuple[str, str], Refusal] = {}
    jobs = dict(context.jobs)
    for name, model in product(names, models):
        kind = RUNTIMES[name]
        if kind.runs == "network" and isinstance(model.network, Refusal):
            refused[name, model.id] = model.network
        elif kind.form and kind.form not in jobs[model.id].files:
            file = file_in(kind.form, model, jobs[model.id])
            if isinstance(file, Refusal):
                refused[name, model.id] = file
            else:
                files = {**jobs[model.id].files, kind.form: str(file)}
                jobs[model.id] = replace(jobs[model.id], files=files)
    return refused, jobs


def _try(
    name: str, job: JobModel, expected: _Trial | Refusal, model: BenchModel, context: Context
) -> tuple[Start, Mapping[str, Any], Mapping[str, int]] | Refusal:
    """Return how runtime `name` started with `model`, its facts and kernels; or why the model is not measured in it.

    `expected` is what onnxruntime computed for the same `job`.
    """
    if isinstance(expected, Refusal):
        return Refusal(f"onnxruntime returns no outputs to compare with: {expected.reason}")
    outcome = _run(name, job, context.config, context.folder)
    if isinstance(outcome, Refusal):
        return replace(outcome, status="error")
    result = outcome[0]
    file_logits, logits = (_scaled(outputs, job) for _, outputs in (expected, outcome))
    if logits.shape != file_logits.shape:
        return Refusal(f"its outputs have shape {logits.shape}, the file's {file_logits.shape}", status="error")
    max_abs = float(np.abs(logits - file_logits).max())
    properties = result.get("properties", {}).get(model.id, {})
    tolerance = max(_tolerance(file_logits, model, name), _STEPS * _step_of_form(name, job, properties))
    if not max_abs <= tolerance:  # also for NaN
        reason = f"its outputs deviate from the file's by {max_abs:.3g} (tolerance {tolerance:.3g})"
        kind = RUNTIMES[name]
        return Refusal(reason, _DEVIATES["form" if kind.form else kind.runs], status="error")
    start = Start(result["load_ns"][model.id], result["first_run_ns"][model.id], max_abs, properties)
    return start, result["facts"], result.get("kernels", {}).get(model.id, {})


def _step_of_form(name: str, job: JobModel, properties: Mapping[str, float]) -> float:
    """Return the step of the output of a file beside the model's, 0 for floats and for a runtime that has no step.

    A runtime says the step of an output in integers; that of floats which the file dequantizes is in the file.
    """
    form = RUNTIMES[name].form
    if "output_step" not in properties or not form:
        return 0.0
    return properties["output_step"] or tflite_step(Path(job.files[form]))


def _scaled(outputs: NDArray[np.generic], job: JobModel) -> NDArray[np.float64]:
    """Return outputs in the unit of scores, which their steps have, too: integers with a scale are dequantized.

    A class of probability 0, whose logit may be -inf, has a number, because infinities have no difference.
    """
    scale, zero_point = job.output_scale or (1.0, 0)
    scores = (outputs.astype(np.float64) - zero_point) * scale
    return np.asarray(with_finite_logits(scores.reshape(len(scores), -1)).reshape(scores.shape), np.float64)


def _tolerance(logits: NDArray[np.float64], model: BenchModel, runtime: str) -> float:
    """Return how far a runtime's outputs may be from onnxruntime's `logits` of the same file or network.

    Two runtimes round the numbers of a file in integers or half precision differently, which moves its output by some
    of its own steps.
    """
    largest = float(np.abs(logits).max())
    tolerance = metrics.parity_tolerance(largest)
    if RUNTIMES[runtime].runs != "file":
        return tolerance
    step = output_step(model.path, model.facts.output.name, float(np.ptp(logits)), largest)
    return max(tolerance, _STEPS * (step or 0.0))


def _uncertain(names: Iterable[str], config: Measure) -> list[str]:
    """Return the runtimes that may lack the provider; those that take other `form`s cannot run the null model."""
    kinds = (RUNTIMES[name] for name in names)
    return [kind.name for kind in kinds if (kind.name, config.provider) != (ONNXRUNTIME, "cpu") and not kind.form]


def _run(name: str, model: JobModel, config: Measure, folder: Path) -> _Trial | Refusal:
    """Return the result of a fresh process with `model` in runtime `name`, and the logits; or why there is none."""
    threads, file = config.threads[0], folder / "admission.npy"
    job = AdmissionJob(runtime=name, models=(model,), files=(str(file),), provider=config.provider, threads=threads)
    try:
        result = Runner(config, folder).run(job, Silent(), numpy_threads=threads)
    except MeasurementError as error:
        return Refusal(error.message, error.hint, status="error")
    if model.id in result["errors"]:
        reason, hint = result["errors"][model.id]
        return Refusal(reason, hint or None)
    return result, np.load(file)
