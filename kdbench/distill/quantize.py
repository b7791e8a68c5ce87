"""Quantization-aware training: the network computes in floating point, on values rounded to integer grids.

Grids are symmetric per output channel for weights and affine per tensor for activations, as in Jacob et al. 2018,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (arXiv:1712.05877).
A grid is a scale s and a zero point z: the integer q stands for s · (q − z).

Built on torch's core operators `fake_quantize_per_channel_affine` and `fake_quantize_per_tensor_affine`. torch's
eager-mode QAT (`torch.ao.quantization`) is deprecated. Its successor torchao covers only Linear and Embedding in eager
mode; its other mode trains an exported program, which loses the module paths that name feature layers.
"""

import copy
from contextlib import ExitStack
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdbench.errors import InputError
from kdbench.models.features.probe import probed
from kdbench.recipe import Quantize

# No scale is smaller, so that a channel of zeros, or an input that is always zero, does not divide by zero.
_MIN_SCALE = torch.finfo(torch.float32).eps
MOMENTUM = 0.01  # share of the newest batch in the moving averages of a range; "close to 0", section 3.1
# How far activations are shifted, as a share of their range: about ten times the differences of sums in float32.
_SHIFT = 1e-5
_SHIFT_MARGIN = 2.0  # the difference that is compared with the largest change is random, too


def weight_limit(bits: int) -> int:
    """Return the largest integer of a weight; the smallest is its negative (section 3.1 leaves −128 out)."""
    return (1 << (bits - 1)) - 1


def activation_limit(bits: int) -> int:
    """Return the largest integer of an activation; the smallest is 0."""
    return (1 << bits) - 1


def weight_scale(weight: Tensor, bits: int) -> Tensor:
    """Return the scale of each output channel, (out,), float32: its largest magnitude is the largest integer."""
    largest = weight.detach().float().flatten(1).abs().amax(dim=1)
    return (largest / weight_limit(bits)).clamp_min(_MIN_SCALE)


def activation_grid(low: Tensor, high: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return scale (float32) and zero point (int32), scalars, of the range [low, high], which holds 0.

    The range is nudged so that 0 is a point of the grid: zero padding must be exact (section 3.1).
    """
    limit = activation_limit(bits)
    scale = ((high - low) / limit).clamp_min(_MIN_SCALE)
    zero_point = torch.round(-low / scale).clamp(0, limit).to(torch.int32)
    return scale, zero_point


def weight_on_grid(weight: Tensor, bits: int) -> Tensor:
    """Return `weight` (out, …), float32, with at most 2 · weight_limit + 1 different values in each output channel.

    The gradient passes unchanged (straight-through estimator).
    """
    scale, limit = weight_scale(weight, bits), weight_limit(bits)
    zero_point = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight.float(), scale, zero_point, 0, -limit, limit)


def activation_on_grid(inputs: Tensor, low: Tensor, high: Tensor, bits: int) -> Tensor:
    """Return `inputs`, float32, rounded to the grid of the range [low, high].

    The gradient passes unchanged within the range (straight-through estimator) and is 0 for clipped values.
    """
    scale, zero_point = activation_grid(low, high, bits)
    return torch.fake_quantize_per_tensor_affine(inputs.float(), scale, zero_point, 0, activation_limit(bits))


class FakeQuantized(nn.Module):
    """The base of fake-quantized layers: their bits, and the range of their inputs.

    In training mode, each batch first updates the range with its smallest and largest value: by the mean of the first
    1/MOMENTUM batches, then by an exponential moving average. The range is in buffers, so that weights and checkpoints
    contain it. Evaluation mode does not change it; before the first batch a layer computes in full precision.
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
            return self.compute(inputs, self.weight)
        rounded = activation_on_grid(inputs, self.input_low, self.input_high, self.activation_bits)
        return self.compute(rounded, weight_on_grid(self.weight, self.weight_bits))

    def compute(self, inputs: Tensor, weight: Tensor) -> Tensor:
        """Return the layer's output for `inputs` with `weight`."""
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

    def compute(self, inputs: Tensor, weight: Tensor) -> Tensor:
        """Return the convolution with `weight`."""
        output: Tensor = self._conv_forward(inputs, weight, self.bias)
        return output


class FakeQuantizedLinear(FakeQuantized, nn.Linear):
    """A product of inputs (…, in) with weights (out, in), both on their grids."""

    def compute(self, inputs: Tensor, weight: Tensor) -> Tensor:
        """Return the product with `weight`."""
        return functional.linear(inputs, weight, self.bias)


_LAYERS: dict[type[nn.Module], type[FakeQuantized]] = {nn.Conv2d: FakeQuantizedConv2d, nn.Linear: FakeQuantizedLinear}


def with_fake_quantization(network: nn.Module, options: Quantize, example: Tensor | None = None) -> nn.Module:
    """Turn every Conv2d and Linear of `network` into one that rounds its inputs and weights; return the network.

    Paths, parameters and their names stay as they are; buffers for the ranges are added. The first and the last of
    these layers have `options.first_last_bits`, as is usual (Esser et al. 2020, "Learned Step Size Quantization",
    arXiv:1902.08153): those that the network calls first and last for the inputs `example` (N, …), or without it those
    that it registers first and last. Sums, biases, batch norm and activation functions stay in floating point. Batch
    norm is not folded while training: every channel has a separate scale, so that folding afterwards changes scales
    and biases, never an integer (see kdbench.export.integers).

    Subclasses of Conv2d and Linear, whose forward is not known, stay in full precision. Raises InputError where there
    is nothing to quantize.
    """
    layers = [module for module in network.modules() if type(module) in _LAYERS]
    if not layers:
        message = f"{type(network).__name__} has no Conv2d and no Linear, so there is nothing to quantize"
        raise InputError(message, "leave quantize out")
    called = layers if example is None else _called(network, layers, example)
    for layer in layers:
        is_inner = layer is not called[0] and layer is not called[-1]
        # As torch's parametrizations do: the object stays, with its place in the network, its weights and its hooks.
        layer.__class__ = _LAYERS[type(layer)]
        quantized = cast("FakeQuantized", layer)
        bits = (options.weight_bits, options.activation_bits) if is_inner else (options.first_last_bits,) * 2
        quantized.weight_bits, quantized.activation_bits = bits
        for name, dtype in {"input_low": None, "input_high": None, "batches_seen": torch.int64}.items():
            quantized.register_buffer(name, torch.zeros((), dtype=dtype, device=quantized.weight.device))
    return network


def _called(network: nn.Module, layers: list[nn.Module], example: Tensor) -> list[nn.Module]:
    """Return `layers` in the order in which `network` calls them, once for each call; as they are if it calls none."""
    calls, wanted = probed(network, (), example, fails=True).calls, set(layers)  # another check names a failure
    return [call.module for call in calls if call.module in wanted] or layers


def is_quantized(network: nn.Module) -> bool:
    """Return whether a layer of `network` rounds to a grid."""
    return any(isinstance(module, FakeQuantized) for module in network.modules())


def forget_ranges(network: nn.Module) -> None:
    """Restart the tracking of every range with the next batch in training mode."""
    for module in network.modules():
        if isinstance(module, FakeQuantized):
            module.batches_seen.zero_()


def deployed(network: nn.Module) -> nn.Module:
    """Return what to export in place of `network`: itself, or a copy of it whose quantized layers hold integers.

    The copy can be exported to ONNX, not run: its layers name ONNX's operators. Weights are int8, activations uint8,
    whatever their bits; fewer than 8 are a narrower range of these.
    """
    if not is_quantized(network):
        return network
    container = nn.Sequential(copy.deepcopy(network))  # so that every layer has a parent, the network itself included
    for path, module in list(container.named_modules(remove_duplicate=False)):
        if isinstance(module, FakeQuantized) and module.batches_seen:
            parent, _, name = path.rpartition(".")
            setattr(container.get_submodule(parent), name, _IntegerLayer(module))
    (network,) = container
    return network.eval()


class _IntegerLayer(nn.Module):
    """A quantized layer with integer weights: DequantizeLinear before each operand of the product."""

    integers: Tensor

    def __init__(self, layer: FakeQuantized) -> None:
        super().__init__()
        scale = weight_scale(layer.weight, layer.weight_bits)
        rounded = weight_on_grid(layer.weight.detach(), layer.weight_bits)
        per_channel = scale.view(-1, *[1] * (rounded.dim() - 1))
        input_scale, zero_point = activation_grid(layer.input_low, layer.input_high, layer.activation_bits)
        limit = activation_limit(layer.activation_bits)
        self.layer = layer
        self.clips = limit < torch.iinfo(torch.uint8).max
        self.register_buffer("integers", torch.round(rounded / per_channel).to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("zero", torch.zeros_like(scale, dtype=torch.int8))
        self.register_buffer("input_scale", input_scale)
        self.register_buffer("input_zero", zero_point.to(torch.uint8))
        self.register_buffer("input_least", torch.zeros((), dtype=torch.uint8))
        self.register_buffer("input_limit", torch.full((), limit, dtype=torch.uint8))

    def forward(self, inputs: Tensor) -> Tensor:
        grid = (self.input_scale, self.input_zero)
        quantized = _onnx("QuantizeLinear", inputs, *grid, like=inputs, dtype=torch.uint8)
        if self.clips:
            quantized = _onnx("Clip", quantized, self.input_least, self.input_limit, like=inputs, dtype=torch.uint8)
        rounded = _onnx("DequantizeLinear", quantized, *grid, like=inputs)
        weight = _onnx("DequantizeLinear", self.integers, self.scale, self.zero, like=self.integers, axis=0)
        return self.layer.compute(rounded, weight)


def _onnx(
    operator: str, *operands: object, like: Tensor, dtype: torch.dtype = torch.float32, **attributes: int
) -> Tensor:
    """Return the output, of the shape of `like`, of an ONNX operator."""
    return torch.onnx.ops.symbolic(operator, operands, attributes, dtype=dtype, shape=like.shape)  # type: ignore[arg-type]


def rounding_sensitivity(network: nn.Module, images: Tensor) -> Tensor | None:
    """Return how far each image's logits may differ, (N,), in a correct computation of a quantized `network`.

    It is twice the largest change of a logit when every quantized input is shifted, at random but equally at every
    call, by up to 1e-5 of its range. `network` is in evaluation mode, `images` (N, C, H, W) are normalised. None for a
    network that is not quantized.
    """
    layers = [module for module in network.modules() if isinstance(module, FakeQuantized) and module.batches_seen]
    if not layers:
        return None
    generator = torch.Generator().manual_seed(0)

    def shifted(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        assert isinstance(layer, FakeQuantized)
        noise = 2 * torch.rand(inputs[0].shape, generator=generator) - 1
        return (inputs[0] + _SHIFT * (layer.input_high - layer.input_low) * noise,)

    with torch.no_grad(), ExitStack() as hooks:
        expected: Tensor = network(images)
        for layer in layers:
            hooks.enter_context(layer.register_forward_pre_hook(shifted))
        change: Tensor = (network(images) - expected).abs().amax(dim=1)
    return _SHIFT_MARGIN * change
