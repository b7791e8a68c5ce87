"""Deep mutual learning (Zhang et al. 2018, "Deep Mutual Learning"): networks that learn from each other.

There is no trained teacher. The student's peers are part of the term: the student's optimiser trains them, checkpoints
include them, and they are discarded after the training.
"""

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from kdbench.distill.losses.logits import cross_entropy, mutual_kl, weighted_cross_entropy
from kdbench.distill.method import Method, MethodContext, MethodOptions, Step
from kdbench.distill.methods import METHODS
from kdbench.errors import InputError
from kdbench.models.features.extractor import FeatureExtractor
from kdbench.recipe import Model


class MutualOptions(MethodOptions):
    """Weights, temperature, and the peers: `peers` networks of the student's model, or one of each of `models`.

    `peer_ce_weight` weighs the peers' cross-entropy; the recipe's `ce_weight` the student's.
    """

    mutual_weight: float = Field(default=1.0, ge=0, le=1e9)
    peer_ce_weight: float = Field(default=1.0, ge=0, le=1e9)
    temperature: float = Field(default=1.0, gt=0, le=1e6)
    peers: int = Field(default=1, ge=1, le=32)
    models: tuple[Model, ...] = ()

    @field_validator("models", mode="before")
    @classmethod
    def _from_names(cls, value: Any) -> Any:
        if not isinstance(value, Sequence) or isinstance(value, str):
            return value
        return [{"name": model} if isinstance(model, str) else model for model in value]


@METHODS.register("mutual")
class Mutual(Method):
    """mutual_weight · mean over the peers of T² · KL(p_peer^T ‖ p_s^T); peers learn likewise, and from the labels.

    The loss of the term is the sum of the student's and the peers' parts. In each part the others' probabilities are
    constants, so that every network gets the gradient of its own part only.
    """

    Options = MutualOptions
    options: MutualOptions
    needs_teacher = False
    needs_classes = True
    uses_label_loss = True

    def __init__(self, options: MutualOptions, context: MethodContext) -> None:
        super().__init__(options, context)
        if options.models and "peers" in options.model_fields_set:
            raise InputError("mutual: peers and models exclude each other", "leave one of them out")
        models: Sequence[Model | None] = options.models or [None] * options.peers
        self.peers = nn.ModuleList(context.build(model, number) for number, model in enumerate(models, start=1))
        self._extractors = [FeatureExtractor(peer) for peer in self.peers]

    def forward(self, step: Step) -> Tensor:
        options = self.options
        all_logits = [step.student_logits, *(peer.run(step.inputs)[0] for peer in self._extractors)]
        loss = torch.zeros((), device=step.student_logits.device)
        for number, logits in enumerate(all_logits):
            others = all_logits[:number] + all_logits[number + 1 :]
            loss = loss + options.mutual_weight * mutual_kl(logits, others, options.temperature)
        for logits in all_logits[1:]:
            loss = loss + options.peer_ce_weight * _label_loss(logits, step)
        return loss

    def formula(self) -> str:
        options, count = self.options, len(self.peers)
        peers = "1 peer's" if count == 1 else f"{count} peers'"
        return (
            f"{options.mutual_weight:g}·T²·mean KL(peer‖s), T = {options.temperature:g}, + {peers} own "
            f"({options.peer_ce_weight:g}·CE + {options.mutual_weight:g}·T²·mean KL(other‖peer))"
        )


def _label_loss(logits: Tensor, step: Step) -> Tensor:
    """Return a peer's cross-entropy with the labels, with the smoothing and the class weights of the student's."""
    if step.class_weights is None:
        return cross_entropy(logits, step.labels, step.label_smoothing)
    return weighted_cross_entropy(logits, step.labels, step.label_smoothing, step.class_weights, step.mean_weight)
