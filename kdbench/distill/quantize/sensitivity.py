"""How far a quantized network's logits move when its activations differ in their last digits.

A step function has no small errors: a sum that two libraries take in another order may fall on the other side of a
rounding boundary, and be a whole step apart from there on. In a deep network one boundary crossed leads to many. Two
faithful computations of one quantized network are therefore further apart than two of a smooth one, and how far depends
on the network.
"""

import torch
from torch import Tensor, nn

from kdbench.distill.quantize.layers import FakeQuantized

# By how much activations are moved, as a share of their range: some ten times what sums in float32 differ by.
_SHARE = 1e-5
# What is compared with it is as much a matter of chance.
_MARGIN = 2.0


def rounding_sensitivity(network: nn.Module, images: Tensor) -> Tensor | None:
    """Return how far each image's logits may stray, (N,), in a faithful computation of a quantized `network`.

    It is twice the largest change of a logit when every quantized input is moved, at random but the same at every call,
    by up to 1e-5 of its range. `network` is in evaluation mode, `images` (N, C, H, W) are normalised. None for a
    network that is not quantized.
    """
    layers = [module for module in network.modules() if isinstance(module, FakeQuantized) and module.batches_seen]
    if not layers:
        return None
    chance = torch.Generator().manual_seed(0)

    def moved(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        assert isinstance(layer, FakeQuantized)
        noise = 2 * torch.rand(inputs[0].shape, generator=chance) - 1
        return (inputs[0] + _SHARE * (layer.input_high - layer.input_low) * noise,)

    with torch.no_grad():
        expected = network(images)
        handles = [layer.register_forward_pre_hook(moved) for layer in layers]
        try:
            found: Tensor = network(images)
        finally:
            for handle in handles:
                handle.remove()
    change: Tensor = (found - expected).abs().amax(dim=1)
    return _MARGIN * change
