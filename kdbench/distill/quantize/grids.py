"""The grids that numbers are rounded to: symmetric per output channel for weights, affine per tensor for activations.

After Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (arXiv:1712.05877). A grid is a scale s and a zero point z: the integer q stands for s · (q − z).
"""

import torch
from torch import Tensor

# No scale is smaller, so that a channel of zeros, or an input that is always zero, does not divide by zero.
_LEAST_SCALE = torch.finfo(torch.float32).eps


def weight_limit(bits: int) -> int:
    """Return the largest integer of a weight; the smallest is its negative (section 3.1: −128 is left out)."""
    return (1 << (bits - 1)) - 1


def activation_limit(bits: int) -> int:
    """Return the largest integer of an activation; the smallest is 0."""
    return (1 << bits) - 1


def weight_scale(weight: Tensor, bits: int) -> Tensor:
    """Return the scale of each output channel, (out,), float32: its largest magnitude is the largest integer."""
    largest = weight.detach().float().flatten(1).abs().amax(dim=1)
    return (largest / weight_limit(bits)).clamp_min(_LEAST_SCALE)


def activation_grid(low: Tensor, high: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return scale (float32) and zero point (int32), scalars, of the range [low, high], which holds 0.

    The range is nudged so that 0 is a point of the grid: zero padding must be exact (section 3.1).
    """
    limit = activation_limit(bits)
    scale = ((high - low) / limit).clamp_min(_LEAST_SCALE)
    zero_point = torch.round(-low / scale).clamp(0, limit).to(torch.int32)
    return scale, zero_point


def weight_on_grid(weight: Tensor, bits: int) -> Tensor:
    """Return `weight` (out, …), float32, at most 2 · weight_limit + 1 different values in each output channel.

    The gradient goes straight through.
    """
    scale, limit = weight_scale(weight, bits), weight_limit(bits)
    zero_point = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight.float(), scale, zero_point, 0, -limit, limit)


def activation_on_grid(inputs: Tensor, low: Tensor, high: Tensor, bits: int) -> Tensor:
    """Return `inputs`, float32, rounded to the grid of the range [low, high].

    The gradient goes straight through within the range; what is clipped has none.
    """
    scale, zero_point = activation_grid(low, high, bits)
    return torch.fake_quantize_per_tensor_affine(inputs.float(), scale, zero_point, 0, activation_limit(bits))
