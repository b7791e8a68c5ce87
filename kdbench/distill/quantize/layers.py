"""Convolutions and linear layers that round their inputs and weights to grids of few bits."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdbench.distill.quantize.grids import activation_on_grid, weight_on_grid
from kdbench.errors import InputError
from kdbench.recipe import Quantize

# Share of the newest batch in the moving averages of a range; "close to 0", Jacob et al. 2018, section 3.1.
MOMENTUM = 0.01


class FakeQuantized(nn.Module):
    """The base of fake-quantized layers: their bits, and the range of their inputs.

    The range is tracked in training mode, before it is used: smallest and largest value of each batch, in the mean of
    the first 1/MOMENTUM batches, then in an exponential moving average. It is kept in buffers, so weights and
    checkpoints hold it. In evaluation mode it stays as it is; until a batch was seen, a layer is in full precision.
    """

    weight: Tensor
    weight_bits: int
    activation_bits: int
    input_low: Tensor
    input_high: Tensor
    batches_seen: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the layer's output for inputs and weights on their grids, which are float32 under autocast too."""
        if self.training:
            self.track(inputs)
        elif not self.batches_seen:
            return self.applied(inputs, self.weight)
        rounded = activation_on_grid(inputs, self.input_low, self.input_high, self.activation_bits)
        return self.applied(rounded, weight_on_grid(self.weight, self.weight_bits))

    def applied(self, inputs: Tensor, weight: Tensor) -> Tensor:
        """Return the layer's output for `inputs`, with `weight` in place of its own."""
        raise NotImplementedError

    @torch.no_grad()
    def track(self, inputs: Tensor) -> None:
        """Move the range towards that of `inputs`; it always holds 0."""
        self.batches_seen += 1
        share = self.batches_seen.reciprocal().clamp_min(MOMENTUM)
        low, high = torch.aminmax(inputs.detach().float())
        self.input_low.lerp_(low.clamp_max(0.0), share)
        self.input_high.lerp_(high.clamp_min(0.0), share)


class FakeQuantizedConv2d(FakeQuantized, nn.Conv2d):
    """A convolution of inputs (B, C, H, W) with weights (out, in/groups, k, k), both on their grids."""

    def applied(self, inputs: Tensor, weight: Tensor) -> Tensor:
        """Return the convolution with `weight`."""
        output: Tensor = self._conv_forward(inputs, weight, self.bias)
        return output


class FakeQuantizedLinear(FakeQuantized, nn.Linear):
    """A product of inputs (…, in) with weights (out, in), both on their grids."""

    def applied(self, inputs: Tensor, weight: Tensor) -> Tensor:
        """Return the product with `weight`."""
        return functional.linear(inputs, weight, self.bias)


_QUANTIZED: dict[type[nn.Module], type[FakeQuantized]] = {
    nn.Conv2d: FakeQuantizedConv2d,
    nn.Linear: FakeQuantizedLinear,
}


def with_fake_quantization(network: nn.Module, options: Quantize) -> nn.Module:
    """Turn every Conv2d and Linear of `network` into one that rounds its inputs and weights; return the network.

    Paths, parameters and their names stay as they are; buffers for the ranges are added. The first and the last of
    these layers have `options.first_last_bits`, as is usual (Esser et al. 2020, "Learned Step Size Quantization",
    arXiv:1902.08153). Sums, biases, batch norm and activation functions stay in floating point. Batch norm
    is not folded while training: a weight's scale is its channel's own, so folding it in afterwards changes scales and
    biases alone, never an integer (see kdbench.export.folding).

    Subclasses of Conv2d and Linear, whose forward is not known, stay in full precision. Raises InputError where there
    is nothing to quantize.
    """
    layers = [module for module in network.modules() if type(module) in _QUANTIZED]
    if not layers:
        raise InputError(
            f"{type(network).__name__} has no Conv2d and no Linear, so there is nothing to quantize",
            "leave quantize out",
        )
    for layer in layers:
        is_inner = layer is not layers[0] and layer is not layers[-1]
        # As torch's parametrizations do: the object stays, with its place in the network, its weights and its hooks.
        layer.__class__ = _QUANTIZED[type(layer)]
        quantized = cast("FakeQuantized", layer)
        quantized.weight_bits = options.weight_bits if is_inner else options.first_last_bits
        quantized.activation_bits = options.activation_bits if is_inner else options.first_last_bits
        device = quantized.weight.device
        quantized.register_buffer("input_low", torch.zeros((), device=device))
        quantized.register_buffer("input_high", torch.zeros((), device=device))
        quantized.register_buffer("batches_seen", torch.zeros((), dtype=torch.int64, device=device))
    return network


def is_quantized(network: nn.Module) -> bool:
    """Return whether a layer of `network` rounds to a grid."""
    return any(isinstance(module, FakeQuantized) for module in network.modules())


def forget_ranges(network: nn.Module) -> None:
    """Restart the tracking of every range with the next batch in training mode."""
    for module in network.modules():
        if isinstance(module, FakeQuantized):
            module.batches_seen.zero_()
