"""Whether user methods and transforms work: tried once, on real samples, before anything trains."""

from collections.abc import Sequence

import torch
from torch import nn

from kdbench import plugins
from kdbench.data.transforms import Transforming
from kdbench.distill.objective import Objective, ScheduledTerm
from kdbench.distill.teaching.teachers import LiveTeacher
from kdbench.errors import InputError, KdbenchError
from kdbench.recipe import Trained
from kdbench.registry import is_shipped
from kdbench.workflows.study.plan import Job
from kdbench.workflows.study.run_data import RunData

SAMPLES = 4


def require_usable_methods(
    job: Job, terms: Sequence[ScheduledTerm], network: nn.Module, teachers: Sequence[nn.Module], run_data: RunData
) -> None:
    """Raise InputError for a user method whose loss fails, is no scalar, or has no gradient.

    Trains nothing, but runs `network` in training mode and freezes `teachers`. Does nothing where a teacher is a
    file of logits: it has no network to run.
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
        try:
            loss, _ = objective(network, batch, 0)
        except KdbenchError:
            raise
        except Exception as error:
            raise InputError(f"{name} failed: {plugins.describe_failure(error)}", plugins.place(error)) from error
        if not isinstance(loss, torch.Tensor) or loss.dim() > 0:
            shown = f"shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise InputError(
                f"{name} returns {shown}, not a scalar", "return the mean over the batch, already weighted"
            )
        if not loss.requires_grad:
            hint = "compute it from step.student_logits or step.student_features, without detach or no_grad"
            raise InputError(f"the loss of {name} does not depend on the student's weights", hint)


def require_usable_transform(entry: Trained, seed: int, run_data: RunData) -> None:
    """Raise InputError for a transform that fails, or changes the shape or the type of inputs."""
    transform = entry.data.augment.transform
    if transform is not None:
        Transforming(transform, seed)(torch.from_numpy(run_data.train.inputs[:SAMPLES].copy()), 0, 0)
