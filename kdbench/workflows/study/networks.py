"""The networks of a recipe's jobs: with fresh, initial or trained weights, or adapted as teachers."""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from kdbench import models
from kdbench.data.dataset import Dataset
from kdbench.distill.initial_weights import SubStudent, fuse, interpolate_weights
from kdbench.distill.pruning import prune, prune_without_timing
from kdbench.distill.quantize import forget_ranges, is_quantized, with_fake_quantization
from kdbench.distill.teaching.stored_logits import StoredLogits
from kdbench.distill.training import fit
from kdbench.errors import InputError
from kdbench.export.state_dicts import Candidate
from kdbench.models.features.modes import evaluation_mode
from kdbench.models.staged import Fused
from kdbench.plugins import describe_failure
from kdbench.plugins.seeding import seeded
from kdbench.progress import Silent
from kdbench.recipe import Measure, Model, Student, Trained
from kdbench.results.cards import Origin
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.study import pruned
from kdbench.workflows.study.model_sources import file_hash, load_into
from kdbench.workflows.study.plan import Job
from kdbench.workflows.study.pretrained_teachers import onnx_network
from kdbench.workflows.study.run_data import RunData
from kdbench.workflows.study.teacher_forms import built_for, form_of


def fresh(job: Job, dataset: Dataset) -> nn.Module:
    """Build a job's network with fresh weights that depend only on the seed and the architecture.

    A pruned network is pruned by these fresh weights: it has the size of the trained one, but not its shape. With a
    goal of latency it has about that size, because nothing is timed here.
    """
    entry = job.entry
    if isinstance(entry, Student) and entry.sub_students is not None and job.part is not None:
        features = entry.sub_students.features
        trunk = _build(entry.model, job.seed, dataset, dataset.input_shape, features)
        return SubStudent(trunk, features, dataset.outputs)
    network = _plain(job, dataset)
    if (options := pruned.options_of(job)) is not None and job.start is not None:
        network = fresh(job.start, dataset)
        example = zeros(dataset, dataset.input_shape)
        if options.latency is None:
            prune(network, example, options, entry.name)
        else:
            prune_without_timing(network, example, options, entry.name)
    return _quantized(network, job, dataset)


def from_weights(job: Job, dataset: Dataset) -> tuple[nn.Module, Candidate | None]:
    """Return a job's network with the weights of its file, if it has one, and the set of weights in the file.

    Only a model that is trained afterwards may have a new last layer. Raises InputError for weights of another network.
    """
    if job.weights is None:
        return fresh(job, dataset), None
    network = _plain(job, dataset)
    options: dict[str, Any] = {"new_head": not job.entry.is_ready, "key": job.entry.weights_key}
    loaded = load_into(network, job.weights, built_for(job, dataset)[1], job.entry.name, **options)
    return _quantized(network, job, dataset), loaded


def origin(job: Job, dataset: Dataset) -> Origin:
    """Return the file that a job's network starts from, and the weights of the network that it does not have."""
    assert job.weights is not None, "only weights from a file have an origin"
    _, loaded = from_weights(job, dataset)
    assert loaded is not None
    return Origin(file=job.weights.name, sha256=file_hash(job.weights), key=loaded.key, fresh=loaded.head)


def _plain(job: Job, dataset: Dataset) -> nn.Module:
    return _build(architecture(job.entry), job.seed, dataset, *built_for(job, dataset))


def _quantized(network: nn.Module, job: Job, dataset: Dataset) -> nn.Module:
    quantize = job.entry.quantize if isinstance(job.entry, Student) else None
    return (
        network if quantize is None else with_fake_quantization(network, quantize, zeros(dataset, dataset.input_shape))
    )


def initialized(job: Job, run_data: RunData, folder: RunFolder, timing: pruned.Timing | None = None) -> nn.Module:
    """Return a job's network with the weights that its training starts from.

    `timing` is how to time a network that is pruned to a latency.
    """
    if (options := pruned.options_of(job)) is not None:
        assert job.start is not None, "a pruned network has a source"
        dataset, weights = run_data.dataset, folder.checkpoint(job.start.id) / fit.WEIGHTS
        network, example = trained(job.start, dataset, folder), zeros(dataset, dataset.input_shape)
        timing = timing or pruned.Timing(Measure(), run_data, Silent())
        file = pruned.removed_file(folder, job)
        pruned.prune_once(network, example, options, job.entry.name, weights, file, timing)
        return _quantized(network, job, dataset)
    network, _ = from_weights(job, run_data.dataset)
    if job.parts:
        assert isinstance(network, Fused)
        assert isinstance(job.entry, Student)
        assert job.entry.sub_students is not None
        parts = (trained(part, run_data.dataset, folder) for part in job.parts)
        fuse(network, [part for part in parts if isinstance(part, SubStudent)])
        if job.entry.sub_students.tune == "head":
            network.freeze_trunks()
    if job.start is not None:
        assert isinstance(job.entry, Student)
        assert job.entry.start is not None
        # With `train`, a single left-over image joins the batch before it: one image has no variance.
        images = run_data.batches(run_data.part_of(job.entry.data).split, job.entry.training.batch, train=True)
        other = trained(job.start, run_data.dataset, folder)
        interpolate_weights(network, quantized_like(other, job, run_data.dataset), job.entry.start, images)
        forget_ranges(network)
    return network


def _reshaped(job: Job, dataset: Dataset, folder: RunFolder) -> nn.Module:
    """Return a network with the shape of a job's trained one, pruned if the job is, with other weights."""
    if pruned.options_of(job) is None or job.start is None:
        return _plain(job, dataset)
    network = _reshaped(job.start, dataset, folder)
    pruned.prune_again(network, zeros(dataset, dataset.input_shape), pruned.removed_file(folder, job))
    return network


def trained(job: Job, dataset: Dataset, folder: RunFolder) -> nn.Module:
    """Return a finished job's network with its weights, on the CPU, in evaluation mode."""
    network = (
        fresh(job, dataset)
        if pruned.options_of(job) is None
        else _quantized(_reshaped(job, dataset, folder), job, dataset)
    )
    fit.load_weights(network, folder.checkpoint(job.id))
    network.eval()
    return network


def teacher_network(job: Job, run_data: RunData, folder: RunFolder | None) -> nn.Module:
    """Return a job's network adapted as a teacher: from the students' inputs to logits of the data's classes.

    Without a `folder` it is not trained yet.
    """
    if job.logits is not None:
        return StoredLogits()
    form, dataset = form_of(job, run_data), run_data.dataset
    if form is not None and form.facts is not None:
        network: nn.Module = onnx_network(job, form, run_data)
    else:
        network = from_weights(job, dataset)[0] if folder is None else trained(job, dataset, folder)
    return network if form is None else form.adapted(network)


def build_peer(job: Job, dataset: Dataset, model: Model | None, number: int) -> nn.Module:
    """Build another network for a job's data from a model (None: the job's), with a seed that depends on `number`."""
    seed, shape = job.seed + 7919 * number, dataset.input_shape
    return _build(model or job.entry.model, seed, dataset, shape, dataset.outputs)


def architecture(entry: Trained) -> Model:
    """Return the model of an entry's exported network: the fused one if it has parts."""
    parts = entry.sub_students if isinstance(entry, Student) else None
    if parts is None:
        return entry.model
    trunk = entry.model.model_dump()
    return Model.model_validate({"name": "fused", "trunk": trunk, "count": parts.count, "features": parts.features})


def quantized_like(other: nn.Module, job: Job, dataset: Dataset) -> nn.Module:
    """Return `other` with fake quantization if the job's student has it."""
    return other if is_quantized(other) else _quantized(other, job, dataset)


def _build(model: Model, seed: int, dataset: Dataset, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    torch.manual_seed(seed)
    with seeded(seed):  # for user code that draws from other generators
        network = models.build(model.name, input_shape, outputs, input_shape[dataset.channel_axis - 1], **model.options)
        _initialize_lazy_layers(network, dataset, input_shape)
    return network


def _initialize_lazy_layers(network: nn.Module, dataset: Dataset, input_shape: tuple[int, ...]) -> None:
    """Create the weights of layers such as `LazyLinear`, whose sizes the first forward determines."""
    weights = (*network.parameters(), *network.buffers())
    if any(map(is_lazy, weights)):
        inputs = zeros(dataset, input_shape)
        try:
            with torch.no_grad(), evaluation_mode(network):
                network(inputs)
        except Exception as error:  # user code
            message = f"{type(network).__name__} fails on inputs {tuple(inputs.shape)}: {describe_failure(error)}"
            raise InputError(message, "call it in Python on zeros of this shape to see where") from error


def zeros(dataset: Dataset, input_shape: tuple[int, ...]) -> torch.Tensor:
    """Return two samples of zeros, of a data set's type, to call a network with."""
    split = dataset.test or dataset.train
    tokens = split is not None and split.inputs.dtype == np.int64
    return torch.zeros((2, *input_shape), dtype=torch.int64 if tokens else torch.float32)
