"""The check before anything trains: every network and loss of a recipe is built and tried once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

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
from kdbench.plugins import Recording, Source, located_sources, recording
from kdbench.recipe import Model, Recipe, Student
from kdbench.registry import is_shipped
from kdbench.workflows.stages.compress import compression_plan
from kdbench.workflows.stages.train import class_weights_of, terms_of
from kdbench.workflows.study import networks
from kdbench.workflows.study.checks.networks import SAMPLES, is_standard, require_usable
from kdbench.workflows.study.checks.tokens import require_all_tokens, require_vocabulary
from kdbench.workflows.study.checks.user_code import (
    require_least_batch,
    require_usable_methods,
    require_usable_transform,
)
from kdbench.workflows.study.model_sources import external_locations, file_hash
from kdbench.workflows.study.plan import Job
from kdbench.workflows.study.pretrained_teachers import bench_model, onnx_network
from kdbench.workflows.study.pruned import options_of
from kdbench.workflows.study.pruned_latency import require_reachable
from kdbench.workflows.study.run_data import RunData
from kdbench.workflows.study.teacher_forms import TeacherForm, differs_from_data, form_of, is_onnx_teacher
from kdbench.workflows.study.teachers import is_cached, require_different_teachers, stored_teacher
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
    require_different_teachers(recipe, jobs, run_data.content)
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
    checks = _Checks(run_data, trained or {})
    distinct: dict[tuple[str, bool], Job] = {}
    for job in jobs:
        distinct.setdefault((job.entry.name, job.part is None), job)  # seeds and parts do not differ
    recordings: dict[str, Recording] = {}
    for job in distinct.values():
        name = job.entry.name
        recordings[name] = checks.code_of(job) | recordings.get(name, Recording())
    return recordings


class _Checks:
    """The checks of jobs on the same data. What equals something that passed, or was built, is not tried again."""

    def __init__(self, run_data: RunData, trained: Trainings) -> None:
        self._run_data, self._trained = run_data, trained
        self._checked: dict[str, Recording] = {}  # the user code of jobs, by what their check depends on
        self._tried: set[str] = set()  # hashes of networks and of files
        self._built: dict[str, nn.Module] = {}
        self._teachers: dict[str, nn.Module] = {}  # before training, by the job's id

    def code_of(self, job: Job) -> Recording:
        """Check a job, unless an equal one was checked; return the user code of its network and losses."""
        key = _check_key(job, self._trained)
        if key not in self._checked:
            self._checked[key] = self._check(job)
        return self._checked[key]

    def _check(self, job: Job) -> Recording:
        run_data = self._run_data
        require_task(run_data.dataset.task, job.entry.name, job.entry.data, job.training)
        require_images(job.entry.data.augment, run_data.dataset, job.entry.name)
        if job.logits is not None:
            return Recording()
        form = form_of(job, run_data)
        require_vocabulary(job.entry, run_data, None if form is None else form.facts)
        class_weights_of(job, run_data)
        _require_own_input(job, run_data)
        with recording() as network_code:
            network = self._usable_network(job, form)
        teachers = self._untrained_teachers(job)  # not recorded: their code is that of other jobs
        with recording() as term_code:
            terms = self._usable_terms(job, network, teachers)
        if not job.parts:
            is_cached(job.entry, terms, job.training)
        _require_stored_logits(job, terms, run_data)
        if job.start is not None:
            _require_start(job, job.start, network, run_data)
        return network_code | term_code

    def _usable_network(self, job: Job, form: TeacherForm | None) -> nn.Module:
        """Build and try a job's network; one that was exported with the same code is known to export."""
        with recording() as building_code:
            network = self._network(job, form)
        if not job.entry.is_ready:
            require_known_paths(network, job.training, job.entry.name)
        exports = job.id in self._trained and located_sources(building_code).keys() <= set(self._trained[job.id])
        again = partial(_rebuilt, job, self._run_data)
        self._try(network, job, form, exported=job.part is None and not exports, again=again)
        return network

    def _usable_terms(self, job: Job, network: nn.Module, teachers: Sequence[nn.Module]) -> tuple[ScheduledTerm, ...]:
        """Build and try the terms of a job's loss, and the transform and the batches of its training."""
        run_data = self._run_data
        terms = terms_of(job, network, teachers, run_data, partial(self._peer, job))
        require_usable_transform(job.entry, job.seed, run_data)
        require_usable_methods(job, terms, network, teachers, run_data)
        if not job.entry.is_ready:
            require_least_batch(job, terms, network, teachers, job.training.batch, run_data)
        return terms

    def _untrained_teachers(self, job: Job) -> list[nn.Module]:
        """Return the networks of the teachers that a job learns from, before training."""
        teachers = job.teachers if job.learns else ()
        for teacher in teachers:
            if teacher.id not in self._teachers:
                self._teachers[teacher.id] = networks.teacher_network(teacher, self._run_data, None)
        return [self._teachers[teacher.id] for teacher in teachers]

    def _network(self, job: Job, form: TeacherForm | None) -> nn.Module:
        """Return a job's network; an ONNX file that was not tried first runs in a separate process."""
        if form is None and job.weights is None and job.start is None and job.part is None:
            return self._initial_network(job)
        if form is None or form.facts is None:
            return networks.from_weights(job, self._run_data.dataset)[0]
        if form.facts.sha256 not in self._tried:
            require_answer(bench_model(job, form))
            self._tried.add(form.facts.sha256)
        return onnx_network(job, form, self._run_data)

    def _initial_network(self, job: Job) -> nn.Module:
        """Return a job's network with initial weights; kdbench's own are built once for equal entries and all seeds."""
        key = storage.content_hash(job.entry.model_dump(mode="json", include=_NETWORK_KEYS))
        if key in self._built:
            return self._built[key].requires_grad_(requires_grad=True)  # another entry may have frozen a part
        network = networks.fresh(job, self._run_data.dataset)
        if is_standard(network):
            self._built[key] = network
            if len(self._built) > _MAX_NETWORKS:
                del self._built[next(iter(self._built))]
        return network

    def _try(
        self, network: nn.Module, job: Job, form: TeacherForm | None, *, exported: bool, again: Callable[[], nn.Module]
    ) -> None:
        """Raise InputError for a network of `job` that cannot be used; equal ones are not tried again.

        `again` builds it again. `form` is that of a pretrained teacher whose input and outputs differ from the
        students'.
        """
        key = _network_key(job, exported=exported)
        if key in self._tried:
            return
        self._tried.add(key)
        dataset, name = self._run_data.dataset, job.entry.name
        example, outputs = self._run_data.example(self._run_data.train, SAMPLES), dataset.outputs
        if form is not None:
            example, outputs = form.inputs(example), form.outputs
        rebuild = again if _is_user_code(job) else None
        options: dict[str, Any] = {"trains": not job.entry.is_ready, "exported": exported, "rebuild": rebuild}
        require_usable(network, example, outputs, name, task=dataset.task, **options)
        if dataset.layout == "tokens":
            require_all_tokens(network, self._run_data, name)

    def _peer(self, job: Job, model: Model | None, number: int) -> nn.Module:
        """Build a peer as `networks.build_peer` does, and try it."""
        build = partial(networks.build_peer, job, self._run_data.dataset, model, number)
        peer = build()
        if model is not None:
            entry = job.entry.model_copy(update={"model": model, "name": f"a peer of {job.entry.name}"})
            self._try(peer, replace(job, entry=entry, weights=None), None, exported=False, again=build)
        return peer


def _check_key(job: Job, trained: Trainings) -> str:
    """Return a hash of everything the check of a job depends on."""
    known = sorted(map(str, trained[job.id])) if job.id in trained else None
    needed = [other.id for other in (*job.teachers, *((job.start,) if job.start is not None else ()))]
    entry = job.entry.model_dump(mode="json", exclude=_UNCHECKED)
    return storage.content_hash({"entry": entry, "part": job.part is not None, "needed": needed, "trained": known})


def _network_key(job: Job, *, exported: bool) -> str:
    """Return a hash of everything the trial of a job's network depends on."""
    model = job.entry.model_dump(mode="json", include=_NETWORK_KEYS)
    weights = None if job.weights is None else file_hash(job.weights)
    trial = {"weights": weights, "trains": not job.entry.is_ready, "exported": exported, "part": job.part is not None}
    return storage.content_hash({**model, **trial})


def _require_stored_logits(job: Job, terms: Sequence[ScheduledTerm], run_data: RunData) -> None:
    """Raise InputError if a teacher that is a file of logits does not fit the job's training part."""
    if any(term.method.needs_teacher for term in terms):
        for teacher in job.teachers:
            if teacher.logits is not None:
                stored_teacher(job, teacher, run_data)


def _require_start(job: Job, start: Job, network: nn.Module, run_data: RunData) -> None:
    """Raise InputError if `network` cannot start with weights of `start`, whose shape or input differs."""
    is_pruned = isinstance(job.entry, Student) and job.entry.prune is not None
    if differs_from_data(start, run_data):
        begins, then = ("is pruned", "prune") if is_pruned else ("starts", "start from")
        message = f"student {job.entry.name!r} {begins} from {start.entry.name!r}, whose input or classes differ"
        hint = f"first fine-tune a student from its weights (weights = FILE), then {then} that student"
        raise InputError(f"{message} from the data's", hint)
    if not is_pruned:
        with about(f"student {job.entry.name!r}"):
            source = networks.fresh(start, run_data.dataset)
            require_same_shape(network, networks.quantized_like(source, job, run_data.dataset))


def _require_own_input(job: Job, run_data: RunData) -> None:
    """Raise InputError for a student that is used as it is, but was made for other inputs or classes."""
    if isinstance(job.entry, Student) and differs_from_data(job, run_data):
        message = f"student {job.entry.name!r} is not trained, and the input or the classes of its file differ"
        raise InputError(f"{message} from the data's", "list it as a [[teacher]], whose input may differ; or train it")


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


def _rebuilt(job: Job, run_data: RunData) -> nn.Module:
    return networks.from_weights(job, run_data.dataset)[0]


def _is_user_code(job: Job) -> bool:
    """Return whether a job's network is neither one that kdbench provides nor an ONNX file."""
    return not is_onnx_teacher(job) and not is_shipped(models.MODELS.get(job.entry.model.name))
