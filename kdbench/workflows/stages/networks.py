"""The networks of a recipe's jobs: built afresh, with the weights they begin with, or with those they ended with."""

from collections.abc import Callable

import torch
from torch import nn

from kdbench import models
from kdbench.data.dataset import Dataset
from kdbench.distill import fit
from kdbench.distill.initial_weights import SubStudent, begin_part_way, fuse
from kdbench.distill.quantize import forget_ranges, is_quantized, with_fake_quantization
from kdbench.models.fused import Fused
from kdbench.recipe import Model, Student, Trained
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.plan import Job
from kdbench.workflows.stages.run_data import RunData


def fresh(job: Job, dataset: Dataset) -> nn.Module:
    """Build a job's network with fresh weights that depend only on the seed and the architecture."""
    entry = job.entry
    if not isinstance(entry, Student):
        return _built(entry.model, job.seed, dataset, dataset.classes)
    if entry.sub_students is not None and job.part is not None:
        features = entry.sub_students.features
        return SubStudent(_built(entry.model, job.seed, dataset, features), features, dataset.classes)
    network = _built(architecture(entry), job.seed, dataset, dataset.classes)
    return network if entry.quantize is None else with_fake_quantization(network, entry.quantize)


def initialized(job: Job, run_data: RunData, folder: RunFolder) -> nn.Module:
    """Return a job's network with the weights that its training starts from."""
    network = fresh(job, run_data.dataset)
    if job.parts:
        _fuse(network, [trained(part, run_data.dataset, folder) for part in job.parts], job)
    if job.start is not None:
        assert isinstance(job.entry, Student)
        assert job.entry.start is not None
        # As in training, a single left-over image joins the batch before it: one image has no variance.
        images = run_data.batches(run_data.part_of(job.entry.data).split, job.entry.training.batch, train=True)
        other = trained(job.start, run_data.dataset, folder)
        begin_part_way(network, _quantized_like(other, job), job.entry.start, images)
        forget_ranges(network)
    return network


def start_network(job: Job, dataset: Dataset) -> nn.Module:
    """Return a network like the one whose weights initialize a job's, with fresh weights."""
    assert job.start is not None
    return _quantized_like(fresh(job.start, dataset), job)


def trained(job: Job, dataset: Dataset, folder: RunFolder) -> nn.Module:
    """Return a finished job's network with its weights, on the CPU, in evaluation mode."""
    network = fresh(job, dataset)
    fit.load_weights(network, folder.checkpoint(job.id))
    return network.eval()


def builder(job: Job, dataset: Dataset) -> Callable[[Model | None, int], nn.Module]:
    """Return a function that builds networks for the same data from a model (None: the job's) and a number."""

    def build(model: Model | None, number: int) -> nn.Module:
        return _built(model or job.entry.model, job.seed + 7919 * number, dataset, dataset.classes)

    return build


def architecture(entry: Trained) -> Model:
    """Return the model of an entry's exported network: the fused one if it has parts."""
    parts = entry.sub_students if isinstance(entry, Student) else None
    if parts is None:
        return entry.model
    trunk = entry.model.model_dump()
    return Model.model_validate({"name": "fused", "trunk": trunk, "count": parts.count, "features": parts.features})


def _quantized_like(other: nn.Module, job: Job) -> nn.Module:
    """Return `other` with fake quantization if the job's student has it."""
    assert isinstance(job.entry, Student)
    if job.entry.quantize is None or is_quantized(other):
        return other
    return with_fake_quantization(other, job.entry.quantize)


def _fuse(network: nn.Module, parts: list[nn.Module], job: Job) -> None:
    assert isinstance(network, Fused)
    assert isinstance(job.entry, Student)
    assert job.entry.sub_students is not None
    fuse(network, [part for part in parts if isinstance(part, SubStudent)])
    if job.entry.sub_students.tune == "head":
        network.freeze_trunks()


def _built(model: Model, seed: int, dataset: Dataset, outputs: int) -> nn.Module:
    torch.manual_seed(seed)
    return models.build(model.name, dataset.input_shape, outputs, **model.options)
