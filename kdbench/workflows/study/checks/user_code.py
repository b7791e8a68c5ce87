"""Check that user methods and transforms work: on real samples, before anything trains."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from kdbench import plugins
from kdbench.data.batches import Batch
from kdbench.data.transforms import Transforming
from kdbench.distill.objective import Objective, ScheduledTerm
from kdbench.distill.teaching.teachers import LiveTeacher
from kdbench.errors import InputError, KdbenchError
from kdbench.plugins.seeding import seeded
from kdbench.recipe import Trained
from kdbench.registry import is_shipped
from kdbench.workflows.study.plan import Job
from kdbench.workflows.study.run_data import RunData

SAMPLES = 4
_ROUNDING = 1e-5
_KEEP = "keep what it remembers in buffers (register_buffer), and draw random numbers from torch's own generator"


def require_usable_methods(
    job: Job, terms: Sequence[ScheduledTerm], network: nn.Module, teachers: Sequence[nn.Module], run_data: RunData
) -> None:
    """Raise InputError for a user method whose loss fails, is not a scalar, has no gradient or cannot be resumed.

    Trains nothing, but runs `network` in training mode and freezes `teachers`. Does nothing if a teacher is a file of
    logits: it has no network to run.
    """
    methods = [term.method for term in terms if not is_shipped(type(term.method))]
    if not methods or any(teacher.logits is not None for teacher in job.teachers):
        return
    first = run_data.part_of(job.entry.data).split
    first = first.subset(range(min(SAMPLES, len(first))))
    batch = next(iter(run_data.batches(first, SAMPLES, train=True)))
    network.train()
    for method in methods:
        name = f"the method {type(method).__name__} of {job.entry.name!r}"
        live = [LiveTeacher(teacher) for teacher in teachers] if method.needs_teacher else []
        objective = Objective(ce_weight=0, terms=[ScheduledTerm(method)], teachers=live)
        states = [deepcopy(module.state_dict()) for module in (network, method)]
        loss = _loss(objective, network, batch, name)
        if not isinstance(loss, torch.Tensor) or loss.dim() > 0:
            shown = f"shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
            hint = "return the mean over the batch, already weighted"
            raise InputError(f"{name} returns {shown}, not a scalar", hint)
        if not loss.requires_grad:
            hint = "compute it from step.student_logits or step.student_features, without detach or no_grad"
            raise InputError(f"the loss of {name} does not depend on the student's weights", hint)
        if new := method.state_dict().keys() - states[1].keys():
            hint = (
                "create it in __init__, from context.example: the optimiser needs all parameters before the first step"
            )
            raise InputError(f"{name} creates {min(new)!r} in its first step", hint)
        for module, state in zip((network, method), states, strict=True):
            module.load_state_dict(state)
        if not torch.allclose(_loss(objective, network, batch, name), loss, rtol=_ROUNDING, equal_nan=True):
            raise InputError(f"{name} returns another loss for the same batch, weights and random numbers", _KEEP)


def _loss(objective: Objective, network: nn.Module, batch: Batch, name: str) -> Tensor:
    """Return the loss of a batch in the first epoch; raises InputError for what user code raises."""
    try:
        with torch.random.fork_rng(devices=[]), seeded(0):
            torch.manual_seed(0)
            loss: Tensor = objective(network, batch, 0)[0]
            return loss
    except KdbenchError:
        raise
    except Exception as error:
        raise InputError(f"{name} failed: {plugins.describe_failure(error)}", plugins.location(error)) from error


def require_least_batch(
    job: Job,
    terms: Sequence[ScheduledTerm],
    network: nn.Module,
    teachers: Sequence[nn.Module],
    batch: int,
    run_data: RunData,
) -> None:
    """Raise InputError if batches of `batch` samples, or of all samples if there are fewer, are too small to train on.

    Batch norm, in a network or in a method, has no variance for one sample. Changes statistics of `network`.
    """
    split, name = run_data.part_of(job.entry.data).split, job.entry.name
    least = min(batch, len(split))
    hint = "train on more samples" if len(split) < batch else f"set training.batch of {name} to more"
    for term in terms:
        if least < term.method.least_batch:
            kind = type(term.method).__name__
            message = f"{name}: {kind} compares the samples of a batch, at least {term.method.least_batch}"
            raise InputError(f"{message}, but there are only {least}", hint)
    if least > 1:
        return
    single = next(iter(run_data.batches(split.subset([0]), 1, train=True)))
    network.train()
    try:
        with torch.no_grad():
            network(single.inputs.clone())
            if terms and not any(teacher.logits is not None for teacher in job.teachers):
                uses_teachers = any(term.method.needs_teacher for term in terms)
                live = [LiveTeacher(teacher) for teacher in teachers] if uses_teachers else []
                Objective(ce_weight=0, terms=terms, teachers=live)(network, single, 0)
    except KdbenchError:
        raise
    except Exception as error:
        message = f"{name} cannot be trained on one sample at a time: {plugins.describe_failure(error)}"
        raise InputError(message, hint) from error


def require_usable_transform(entry: Trained, seed: int, run_data: RunData) -> None:
    """Raise InputError for a transform that fails, changes the shape or the type of inputs, or cannot be repeated."""
    transform = entry.data.augment.transform
    if transform is None:
        return
    samples = torch.from_numpy(run_data.train.inputs[:SAMPLES])
    change = Transforming(transform, seed)
    first, second = (change(samples.clone(), 0, 0) for _ in range(2))
    if not torch.equal(first, second):
        message = f"transform {transform.name!r} of {entry.name!r} changes the same batch differently each time"
        raise InputError(
            message, "use the generator that it gets, or the global ones of torch, numpy and Python, and keep no state"
        )
