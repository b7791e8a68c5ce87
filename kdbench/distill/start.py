"""Beginning part-way to another model: a mixture of fresh weights and its, batch norm made to fit.

Stanton et al. 2021 (arXiv:2106.05945, section 6) begin students at λ · fresh + (1 − λ) · teacher; `share` is 1 − λ.
"""

import torch
from torch import nn

from kdbench.data.batches import Batches
from kdbench.errors import InputError
from kdbench.recipe import Start

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def begin_part_way(network: nn.Module, other: nn.Module, start: Start, images: Batches) -> None:
    """Move `network`, in place, `start.share` of the way to `other`; leave it in training mode, on the CPU.

    Raises InputError where the two differ in shape.
    """
    require_same_shape(network, other)
    fresh, learned = network.state_dict(), other.state_dict()
    network.load_state_dict({name: _mixed(fresh[name], learned[name], start.share) for name in fresh})
    if start.batch_norm == "re-estimate":
        re_estimate(network, images)
    network.train()


def require_same_shape(network: nn.Module, other: nn.Module) -> None:
    """Raise InputError where the weights of two networks differ in name or shape."""
    fresh, learned = network.state_dict(), other.state_dict()
    shapes = [{name: tuple(value.shape) for name, value in state.items()} for state in (fresh, learned)]
    if shapes[0] != shapes[1]:
        odd = min(shapes[0].items() ^ shapes[1].items())[0]
        raise InputError(
            f"a start part-way to another model needs one of the same shape; they differ in {odd!r}",
            "choose the same model, or leave start out",
        )


def re_estimate(network: nn.Module, images: Batches) -> None:
    """Take batch norm's running statistics anew: the mean over all batches of `images`, by the weights as they are.

    A mixture of two networks' statistics is that of neither: signals fade or explode from layer to layer.
    """
    norms = [module for module in network.modules() if isinstance(module, _NORMS)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to say: a plain mean over all batches
    network.eval()  # without dropout
    for norm in norms:
        norm.train()
    with torch.no_grad():
        for batch in images:
            network(batch.images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _mixed(fresh: torch.Tensor, learned: torch.Tensor, share: float) -> torch.Tensor:
    if not fresh.is_floating_point():
        return learned  # counts of batches have no in-between
    return torch.lerp(fresh, learned.to(fresh), share)
