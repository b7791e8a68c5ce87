"""Distillation losses as pure functions. Shapes: logits (B, C), labels (B,), features (B, …). Losses are scalars.

No state and no options belong here; only `distill` imports this folder.

Every divergence is KL(teacher ‖ student) in nats, summed over classes, averaged over the batch, times T² where it is
softened. Losses are computed in float32, regardless of the networks' precision; this file prepares their inputs.
"""

import torch
from torch import Tensor


def upcast(values: Tensor) -> Tensor:
    """Return `values` in float32; float64 stays float64.

    On a CPU, autocast leaves log_softmax in bfloat16, whose rounding is as large as the divergence between a good
    student and its teacher.
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))


def without_autocast(values: Tensor) -> torch.autocast:
    """Return a context in which products of matrices on the device of `values` are not rounded to half precision.

    Autocast rounds the factors even after `upcast`; other operations keep the type of their inputs.
    """
    return torch.autocast(values.device.type, enabled=False)


def require_same_shape(student: Tensor, teacher: Tensor, what: str) -> None:
    """Raise ValueError if the shapes differ: torch would broadcast them and compute a meaningless loss."""
    if student.shape != teacher.shape:
        shapes = f"{tuple(student.shape)} of the student, {tuple(teacher.shape)} of the teacher"
        raise ValueError(f"{what} differ in shape: {shapes}")
