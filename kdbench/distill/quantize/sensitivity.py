"""How far a quantized network's logits move when its activations differ in their last digits.

A step function has no small errors: if two libraries add in different orders, a sum can fall on the other side of a
rounding boundary and differ by a whole step. In a deep network one such difference leads to many. Two correct
computations of a quantized network are therefore further apart than two of a smooth one, depending on the network.
"""

import torch
from torch import Tensor, nn

from kdbench.distill.quantize.layers import FakeQuantized

# How far activations are shifted, as a share of their range: about ten times the differences of sums in float32.
_SHARE = 1e-5
# The difference that is compared with it is as random.
_MARGIN = 2.0


def rounding_sensitivity(network: nn.Module, images: Tensor) -> Tensor | None:
    """Return how far each image's logits may differ, (N,), in a correct computation of a quantized `network`.

    It is twice the largest change of a logit when every quantized input is shifted, at random but equally at every
    call, by up to 1e-5 of its range. `network` is in evaluation mode, `images` (N, C, H, W) are normalised. None for a
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
            shifted: Tensor = network(images)
        finally:
            for handle in handles:
                handle.remove()
    change: Tensor = (shifted - expected).abs().amax(dim=1)
    return _MARGIN * change
