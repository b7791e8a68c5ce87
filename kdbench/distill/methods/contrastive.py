"""Contrastive distillation, CRD (Tian, Krishnan, Isola 2020, "Contrastive Representation Distillation").

The student's embedding of a sample is distinguished from the teacher's embeddings of samples of other classes, and vice
versa. Two memories hold each network's embedding of every training sample.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from pydantic import Field
from torch import Tensor, nn

from kdbench.distill.losses import contrastive as crd
from kdbench.distill.losses import upcast
from kdbench.distill.method import LayerMethod, LayerOptions, MethodContext, Step, pooled
from kdbench.distill.methods import METHODS
from kdbench.errors import InputError
from kdbench.models.feature_hooks import last_stage


class ContrastiveOptions(LayerOptions):
    """The authors' values; `momentum` is the share that an old embedding keeps. The default layer is the last stage."""

    contrastive_weight: float = Field(default=0.8, ge=0, le=1e9)
    feature_dim: int = Field(default=128, gt=0, le=65_536)
    negatives: int = Field(default=16384, gt=0, le=100_000)
    temperature: float = Field(default=0.07, gt=0, le=1e6)
    momentum: float = Field(default=0.5, ge=0, lt=1)


class Embedding(nn.Module):
    """A linear layer on pooled features, onto the unit sphere: features in canonical form to (B, D) float32."""

    def __init__(self, example: Tensor, dimensions: int) -> None:
        super().__init__()
        self.linear = nn.Linear(pooled(example).shape[1], dimensions)

    def forward(self, features: Tensor) -> Tensor:
        """Return the embeddings of features."""
        return F.normalize(upcast(self.linear(pooled(features))), dim=1)


class OtherClasses(nn.Module):
    """Draws samples of other classes, uniformly and with replacement, from the `labels` (N,) of all samples."""

    labels: Tensor
    order: Tensor
    counts: Tensor
    starts: Tensor

    def __init__(self, labels: Tensor, classes: int) -> None:
        super().__init__()
        counts = torch.bincount(labels, minlength=classes)
        if int(counts.max()) == len(labels):
            message = "contrastive: all training samples belong to one class, but the negatives come from other classes"
            raise InputError(message, "choose another subset of the data, or another method")
        order, starts = labels.argsort(stable=True), counts.cumsum(0) - counts
        # Checkpoints need not hold values that follow from the data.
        for name, value in {"labels": labels, "order": order, "counts": counts, "starts": starts}.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, index: Tensor, count: int) -> Tensor:
        """Return `count` samples for each of the samples `index` (B,), as positions (B, count)."""
        classes = self.labels[index].unsqueeze(1)
        # The remainder of a number from so large a range is uniform: its bias is below N / 2^62.
        random = torch.randint(2**62, (len(index), count), device=index.device)
        place = random % (len(self.labels) - self.counts[classes])
        return self.order[place + self.counts[classes] * (place >= self.starts[classes])]


@METHODS.register("contrastive")
class Contrastive(LayerMethod):
    """contrastive_weight · CRD: each sample against its `negatives` of other classes, in both directions.

    Negatives are drawn with replacement, for data sets of any size; the authors' code does so only for small ones. As
    there, the partition constants are estimated from the first batch and kept.
    """

    Options = ContrastiveOptions
    options: ContrastiveOptions
    needs_logits = False
    needs_classes = True
    supports_mixed_images = False  # a mixed image belongs to no single sample
    supports_multiple_processes = False  # each process would remember only its samples

    student_memory: Tensor
    teacher_memory: Tensor
    log_partition: Tensor

    def __init__(self, options: ContrastiveOptions, context: MethodContext) -> None:
        super().__init__(options, context, last_stage)
        student, teacher = self.examples(context)
        self.embed_student = Embedding(student, options.feature_dim)
        self.embed_teacher = Embedding(teacher, options.feature_dim)
        self.draw_negatives = OtherClasses(context.labels, context.classes)
        shape = (len(context.labels), options.feature_dim)
        bound = math.sqrt(3 / options.feature_dim)  # rows of length 1 on average
        self.register_buffer("student_memory", torch.empty(shape).uniform_(-bound, bound))
        self.register_buffer("teacher_memory", torch.empty(shape).uniform_(-bound, bound))
        self.register_buffer("log_partition", torch.full((2,), math.nan))
        self._scale: dict[str, Any] = {"temperature": options.temperature, "n_data": len(context.labels)}
        self._estimated = False

    def forward(self, step: Step) -> Tensor:
        """Return the weighted term of one step, and remember the step's embeddings."""
        student = self.embed_student(step.student_features[self.student_layer])
        teacher = self.embed_teacher(step.teacher_features[self.teacher_layer])
        negatives = self.draw_negatives(step.position, self.options.negatives)
        samples = torch.cat([step.position.unsqueeze(1), negatives], dim=1)
        sides = ((student, self.teacher_memory), (teacher, self.student_memory))
        scores = [crd.contrast_scores(anchors, memory, samples) for anchors, memory in sides]
        if not self._estimated:  # a flag, because reading `log_partition` would wait for the device at each step
            self._estimated = True
            if bool(self.log_partition.isnan().all()):  # else a resumed training has it already
                self.log_partition = torch.stack([crd.contrast_log_partition(side, **self._scale) for side in scores])
        losses = [
            crd.contrastive_loss(side, **self._scale, log_partition=log_partition)
            for side, log_partition in zip(scores, self.log_partition.unbind(), strict=True)
        ]
        self.student_memory = self._updated(self.student_memory, step.position, student)
        self.teacher_memory = self._updated(self.teacher_memory, step.position, teacher)
        return self.options.contrastive_weight * (losses[0] + losses[1])

    def formula(self) -> str:
        options = self.options
        return (
            f"{options.contrastive_weight:g}·CRD({', '.join(self.layer_descriptions)}) in {options.feature_dim} "
            f"dimensions, {options.negatives} negatives, τ = {options.temperature:g}, momentum {options.momentum:g}"
        )

    def _updated(self, memory: Tensor, index: Tensor, embeddings: Tensor) -> Tensor:
        """Return a copy of a memory with the rows `index` updated; the backward pass needs the old one."""
        return memory.index_copy(0, index, crd.momentum_update(memory[index], embeddings, self.options.momentum))
