"""The check before anything trains: every network and loss of a recipe is built and tried once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdbench import models
from kdbench.data.augment import require_images
from kdbench.distill.initial_weights import require_same_shape
from kdbench.distill.module_paths import require_known_paths
from kdbench.distill.objective import ScheduledTerm
from kdbench.distill.tasks import require_task
from kdbench.errors import InputError, about
from kdbench.files import storage
from kdbench.measure.admission import require_answer
from kdbench.modelfile.facts import ModelFacts
from kdbench.models.features.modes import evaluation_mode
from kdbench.plugins import Recording, Source, describe_failure, located_sources, recording
from kdbench.recipe import Model, Recipe, Student, Trained
from kdbench.registry import is_shipped
from kdbench.workflows.stages.compress import compression_plan
from kdbench.workflows.stages.train import class_weights_of, terms_of
from kdbench.workflows.study import networks
from kdbench.workflows.study.checks.networks import SAMPLES, is_standard, require_usable
from kdbench.workflows.study.checks.user_code import (
    require_least_batch,
    require_usable_methods,
    require_usable_transform,
)
from kdbench.workflows.study.model_sources import external_locations, file_hash
from kdbench.workflows.study.plan import Job
from kdbench.workflows.study.pruned import options_of
from kdbench.workflows.study.pruned_latency import require_reachable
from kdbench.workflows.study.ready_teachers import bench_model, onnx_network
from kdbench.workflows.study.run_data import RunData
from kdbench.workflows.study.teacher_forms import TeacherForm, form_of, is_onnx_teacher
from kdbench.workflows.study.teachers import is_cached, stored_teacher
from kdbench.workflows.study.user_code import Code, code_of, require_known_everywhere

Trainings = Mapping[str, Sequence[Source]]  # complete ones, by the job's id, with the code that they ran

_NETWORK_KEYS = {"model", "quantize", "prune", "sub_students", "input", "weights_key"}

# The keys that no check uses: entries that differ only in these, as at the points of a sweep, are checked once.
_SCHEDULE = ("name", "warmup", "milestones", "gamma", "factor", "patience", "threshold")
_OPTIMIZER = ("name", "lr", "momentum", "nesterov", "weight_decay", "betas", "decay_norm_and_bias")
_UNCHECKED: Any = {
    **dict.fromkeys(("name", "family", "axes"), True),
    "training": {"optimizer": {*_OPTIMIZER}, "schedule": {*_SCHEDULE}},
}
_MAX_NETWORKS = 8  # kept for entries that differ only in their losses


def check_recipe(recipe: Recipe, jobs: list[Job], run_data: RunData, data_code: Recording, trained: Trainings) -> Code:
    """Check a recipe's jobs and variants, and return the sources of the user code that the jobs run.

    `data_code` is the user code that loaded the data. Raises InputError for what would fail later.
    """
    compression_plan(recipe, run_data)
    _require_separate_data(jobs)
    recordings = check(jobs, run_data, trained)
    for job in jobs:
        if job.id not in trained and job.of_seed == recipe.seeds[0]:
            require_reachable_latency(job, recipe, run_data)
    require_known_everywhere(recipe, jobs, recordings, data_code)
    return code_of(jobs, recordings)


def _require_separate_data(jobs: Sequence[Job]) -> None:
    """Raise InputError for ONNX teachers that keep different weights in one place of the folder they are copied to."""
    known: dict[Path, tuple[str, str]] = {}
    for job in jobs:
        if is_onnx_teacher(job) and job.weights is not None:
            for location, file in external_locations(job.weights).items():
                name, content = known.setdefault(location, (job.entry.name, file_hash(file)))
                if content != file_hash(file):
                    save = f'onnx.save(onnx.load(PATH), PATH, save_as_external_data=True, location="{job.id}.data")'
                    message = f"{name} and {job.entry.name} keep different weights in files of one name, {location}"
                    raise InputError(message, f"save the weights of {job.entry.name} under another name: {save}")


def check(jobs: list[Job], run_data: RunData, trained: Trainings | None = None) -> dict[str, Recording]:
    """Build and try every entry's network and loss once, so that a mistake in a recipe fails before anything trains.

    Entries that differ only in unchecked keys, such as the learning rates of a sweep, are tried once. Networks of the
    jobs in `trained` are known to export, as long as their code is the same. Returns the user code of each entry, by
    name, with the files that it read during the check.
    """
    trained = trained or {}
    recordings: dict[str, Recording] = {}
    distinct: dict[tuple[str, bool], Job] = {}
    for job in jobs:
        distinct.setdefault((job.entry.name, job.part is None), job)  # seeds and parts do not differ
    tried: set[str] = set()
    teacher_networks: dict[str, nn.Module] = {}
    built: dict[str, nn.Module] = {}
    checked: dict[str, Recording] = {}
    for job in distinct.values():
        key = _check_key(job, trained)
        if key in checked:
            recordings[job.entry.name] = checked[key] | recordings.get(job.entry.name, Recording())
            continue
        require_task(run_data.dataset.task, job.entry.name, job.entry.data, job.training)
        require_images(job.entry.data.augment, run_data.dataset, job.entry.name)
        if job.logits is not None:
            recordings[job.entry.name] = Recording()
            continue
        form = form_of(job, run_data)
        require_vocabulary(job.entry, run_data, None if form is None else form.facts)
        class_weights_of(job, run_data)
        with recording() as network_code:
            with recording() as building_code:
                network = _network(job, form, run_data, tried, built)
            if not job.entry.is_ready:
                require_known_paths(network, job.training, job.entry.name)
            exports = job.id in trained and located_sources(building_code).keys() <= set(trained[job.id])
            exported = job.part is None and not exports
            _try(network, job, run_data, tried, form, exported=exported, again=partial(_rebuilt, job, run_data))
        build = partial(_checked_peer, job, run_data, tried)
        teachers = _untrained_teachers(job, run_data, teacher_networks)
        with recording() as term_code:
            terms = terms_of(job, network, teachers, run_data, build)
            require_usable_transform(job.entry, job.seed, run_data)
            require_usable_methods(job, terms, network, teachers, run_data)
            if not job.entry.is_ready:
                require_least_batch(job, terms, network, teachers, job.training.batch, run_data)
        checked[key] = network_code | term_code
        recordings[job.entry.name] = checked[key] | recordings.get(job.entry.name, Recording())
        if not job.parts:
            is_cached(job.entry, terms, job.training)
        _require_stored_logits(job, terms, run_data)
        if job.start is not None:
            _require_start(job, job.start, network, run_data)
    return recordings


def _check_key(job: Job, trained: Trainings) -> str:
    """Return a hash of everything the check of a job depends on."""
    known = sorted(map(str, trained[job.id])) if job.id in trained else None
    needed = [other.id for other in (*job.teachers, *((job.start,) if job.start is not None else ()))]
    entry = job.entry.model_dump(mode="json", exclude=_UNCHECKED)
    return storage.content_hash({"entry": entry, "part": job.part is not None, "needed": needed, "trained": known})


def _require_stored_logits(job: Job, terms: Sequence[ScheduledTerm], run_data: RunData) -> None:
    """Raise InputError if a teacher that is a file of logits does not fit the job's training part."""
    if any(term.method.needs_teacher for term in terms):
        for teacher in job.teachers:
            if teacher.logits is not None:
                stored_teacher(job, teacher, run_data)


def _require_start(job: Job, start: Job, network: nn.Module, run_data: RunData) -> None:
    """Raise InputError if `network` cannot start with weights of `start`, whose shape or input differs."""
    if not (isinstance(job.entry, Student) and job.entry.prune is not None):
        with about(f"student {job.entry.name!r}"):
            require_same_shape(network, networks.quantized_like(networks.fresh(start, run_data.dataset), job))
    elif form_of(start, run_data) is not None:
        message = f"student {job.entry.name!r} is pruned from {start.entry.name!r}, whose input or classes differ"
        hint = "first fine-tune a student from its weights (weights = FILE), then prune that student"
        raise InputError(f"{message} from the data's", hint)


def require_reachable_latency(job: Job, recipe: Recipe, run_data: RunData) -> None:
    """Raise InputError for a network that no pruning makes as fast as the recipe requires, on this machine.

    A network that is pruned from another one with a `latency` is not tried, because the size of that one is not known
    yet.
    """
    options, dataset = options_of(job), run_data.dataset
    if options is None or options.latency is None or job.start is None:
        return
    if (source_options := options_of(job.start)) is not None and source_options.latency is not None:
        return
    example = networks.zeros(dataset, dataset.input_shape)
    source = networks.fresh(job.start, dataset)
    require_reachable(source, example, options, job.entry.name, recipe.measure, run_data)


def _untrained_teachers(job: Job, run_data: RunData, built: dict[str, nn.Module]) -> list[nn.Module]:
    """Return the networks of the teachers that a job learns from, before training; `built` keeps them by id."""
    teachers = job.teachers if job.learns else ()
    for teacher in teachers:
        if teacher.id not in built:
            built[teacher.id] = networks.teacher_network(teacher, run_data, None)
    return [built[teacher.id] for teacher in teachers]


def require_vocabulary(entry: Trained, run_data: RunData, facts: ModelFacts | None = None) -> None:
    """Raise InputError for token ids that the network, or the ONNX file with `facts`, does not take."""
    dataset = run_data.dataset
    if dataset.layout != "tokens":
        return
    name = entry.model.name
    if facts is None and not models.takes_tokens(name):
        message = f"{entry.name}: model {name!r} takes numbers, but the inputs are token ids"
        raise InputError(message, 'use gru or lstm with a vocabulary; data.layout = "vectors" makes them numbers')
    parts = (part for part in (run_data.train, run_data.validation, dataset.test) if part is not None)
    needed = 1 + max(int(part.inputs.max()) for part in parts)
    known = entry.model.options.get("vocabulary") if facts is None else facts.vocabulary
    if isinstance(known, int) and known < needed:
        message = f"{entry.name}: token ids go up to {needed - 1}, and vocabulary is {known}"
        hint = f"set vocabulary = {needed} or more" if facts is None else "choose the data that the file was made for"
        raise InputError(message, hint)


def _network(
    job: Job, form: TeacherForm | None, run_data: RunData, tried: set[str], built: dict[str, nn.Module]
) -> nn.Module:
    """Return a job's network; an ONNX file that is not in `tried` first runs in a separate process.

    kdbench's own networks are built once for equal entries, regardless of their seeds; `built` keeps the latest.
    """
    if form is None and job.weights is None and job.start is None and job.part is None:
        key = storage.content_hash(job.entry.model_dump(mode="json", include=_NETWORK_KEYS))
        if key in built:
            return built[key]
        network = networks.fresh(job, run_data.dataset)
        if is_standard(network):
            built[key] = network
            if len(built) > _MAX_NETWORKS:
                del built[next(iter(built))]
        return network
    if form is None or form.facts is None:
        return networks.from_weights(job, run_data.dataset)[0]
    if form.facts.sha256 not in tried:
        require_answer(bench_model(job, form))
        tried.add(form.facts.sha256)
    return onnx_network(job, form, run_data)


def _try(
    network: nn.Module,
    job: Job,
    run_data: RunData,
    tried: set[str],
    form: TeacherForm | None,
    *,
    exported: bool,
    again: Callable[[], nn.Module],
) -> None:
    """Raise InputError for a network of `job` that cannot be used; equal ones, in `tried`, are not tried again.

    `again` builds it again. `form` describes a ready teacher whose input and outputs differ from the students'.
    """
    model = job.entry.model_dump(mode="json", include=_NETWORK_KEYS)
    trains = not job.entry.is_ready
    model["weights"], model["trains"] = None if job.weights is None else file_hash(job.weights), trains
    key = storage.content_hash({**model, "exported": exported, "part": job.part is not None})
    if key not in tried:
        tried.add(key)
        example = run_data.example(run_data.train, SAMPLES)
        dataset, outputs = run_data.dataset, run_data.dataset.outputs
        options: dict[str, Any] = {
            "trains": trains,
            "exported": exported,
            "rebuild": again if _is_user_code(job) else None,
        }
        if form is not None:
            example, outputs = form.inputs(example), form.outputs
        require_usable(network, example, outputs, job.entry.name, task=dataset.task, **options)
        if dataset.layout == "tokens":
            _require_all_tokens(network, run_data, job.entry.name)


def _require_all_tokens(network: nn.Module, run_data: RunData, name: str) -> None:
    """Raise InputError for a network that fails on the largest token id of any part."""
    parts = [part for part in (run_data.train, run_data.validation, run_data.dataset.test) if part is not None]
    largest = [part.inputs[part.inputs.max(axis=1).argmax()] for part in parts]
    sample = max(largest, key=lambda tokens: int(tokens.max()))
    try:
        with torch.no_grad(), evaluation_mode(network):
            network(torch.from_numpy(sample[None].copy()))
    except Exception as error:  # user code
        message = f"{name} fails on a sample with the token id {sample.max()}: {describe_failure(error)}"
        hint = f"let its embedding have {int(sample.max()) + 1} rows or more, one for each id from 0"
        raise InputError(message, hint) from error


def _checked_peer(job: Job, run_data: RunData, tried: set[str], model: Model | None, number: int) -> nn.Module:
    """Build a peer as `networks.build_peer` does, and try it."""
    peer = networks.build_peer(job, run_data.dataset, model, number)
    if model is not None:
        entry = job.entry.model_copy(update={"model": model, "name": f"a peer of {job.entry.name}"})
        again = partial(networks.build_peer, job, run_data.dataset, model, number)
        _try(peer, replace(job, entry=entry, weights=None), run_data, tried, None, exported=False, again=again)
    return peer


def _rebuilt(job: Job, run_data: RunData) -> nn.Module:
    return networks.from_weights(job, run_data.dataset)[0]


def _is_user_code(job: Job) -> bool:
    """Return whether a job's network is neither one that kdbench provides nor an ONNX file."""
    return not is_onnx_teacher(job) and not is_shipped(models.MODELS.get(job.entry.model.name))
