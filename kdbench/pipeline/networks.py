"""The networks of a recipe's jobs: built afresh, with the weights they begin with, or with those they ended with."""

from collections.abc import Callable

import torch
from torch import nn

from kdbench import models
from kdbench.data.dataset import Dataset
from kdbench.distill import fit
from kdbench.distill.quantize import with_fake_quantization
from kdbench.distill.start import begin_part_way
from kdbench.distill.sub_students import Fused, SubStudent
from kdbench.pipeline.material import Material
from kdbench.pipeline.plan import Job
from kdbench.recipe import Model, Student
from kdbench.run_folder import RunFolder


def fresh(job: Job, dataset: Dataset) -> nn.Module:
    """Build a job's network with fresh weights that depend on nothing but the seed and the architecture."""
    entry = job.entry
    if not isinstance(entry, Student):
        return _built(entry.model, job.seed, dataset, dataset.classes)
    if entry.sub_students is not None:
        features, classes = entry.sub_students.features, dataset.classes
        if job.part is not None:
            return SubStudent(_built(entry.model, job.seed, dataset, features), features, classes)
        return Fused([fresh(part, dataset) for part in job.parts], tune=entry.sub_students.tune)
    network = _built(entry.model, job.seed, dataset, dataset.classes)
    return network if entry.quantize is None else with_fake_quantization(network, entry.quantize)


def beginning(job: Job, material: Material, folder: RunFolder) -> nn.Module:
    """Return a job's network with the weights that its training begins with."""
    network = fresh(job, material.dataset)
    if isinstance(network, Fused):
        network.take([trained(part, material.dataset, folder) for part in job.parts])
    if job.start is not None:
        assert isinstance(job.entry, Student)
        assert job.entry.start is not None
        images = material.batches(material.part_of(job.entry.data).split, job.entry.training.batch)
        begin_part_way(network, trained(job.start, material.dataset, folder), job.entry.start, images)
    return network


def trained(job: Job, dataset: Dataset, folder: RunFolder) -> nn.Module:
    """Return a finished job's network with its weights, on the CPU, in evaluation mode."""
    network = fresh(job, dataset)
    fit.load_weights(network, folder.checkpoint(job.id))
    return network.eval()


def builder(job: Job, dataset: Dataset) -> Callable[[Model | None, int], nn.Module]:
    """Return what makes further networks for the same data: of a model, or (None) of the job's own, from a seed."""

    def build(model: Model | None, number: int) -> nn.Module:
        return _built(model or job.entry.model, job.seed + 7919 * number, dataset, dataset.classes)

    return build


def _built(model: Model, seed: int, dataset: Dataset, outputs: int) -> nn.Module:
    torch.manual_seed(seed)
    return models.build(model.name, dataset.input_shape, outputs, **model.options)
