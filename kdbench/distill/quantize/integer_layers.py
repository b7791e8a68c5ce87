"""A fake-quantized network as it is exported: weights as integers, activations through QuantizeLinear."""

import copy

import torch
from torch import Tensor, nn

from kdbench.distill.quantize.grids import activation_grid, activation_limit, weight_on_grid, weight_scale
from kdbench.distill.quantize.layers import FakeQuantized


def deployed(network: nn.Module) -> nn.Module:
    """Return what to export in place of `network`: itself, or a copy of it whose quantized layers hold integers.

    The copy can be exported to ONNX, not run: its layers name ONNX's operators. Weights are int8, activations uint8,
    whatever their bits; fewer than 8 are a narrower range of these.
    """
    if not any(isinstance(module, FakeQuantized) for module in network.modules()):
        return network
    container = nn.Sequential(copy.deepcopy(network))  # so that every layer has a parent, the network itself included
    for path, module in list(container.named_modules(remove_duplicate=False)):
        if isinstance(module, FakeQuantized) and module.batches_seen:
            parent, _, name = path.rpartition(".")
            setattr(container.get_submodule(parent), name, _IntegerLayer(module))
    (network,) = container
    return network.eval()


class _IntegerLayer(nn.Module):
    """A quantized layer, its weights rounded for good: DequantizeLinear before each operand of the product."""

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

    integers: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        grid = (self.input_scale, self.input_zero)
        quantized = _onnx("QuantizeLinear", inputs, *grid, like=inputs, dtype=torch.uint8)
        if self.clips:
            bounds = (self.input_least, self.input_limit)
            quantized = _onnx("Clip", quantized, *bounds, like=inputs, dtype=torch.uint8)
        rounded = _onnx("DequantizeLinear", quantized, *grid, like=inputs)
        weight = _onnx("DequantizeLinear", self.integers, self.scale, self.zero, like=self.integers, axis=0)
        return self.layer.applied(rounded, weight)


def _onnx(
    operator: str, *operands: object, like: Tensor, dtype: torch.dtype = torch.float32, **attributes: int
) -> Tensor:
    """Return the output, of the shape of `like`, of an ONNX operator."""
    return torch.onnx.ops.symbolic(operator, operands, attributes, dtype=dtype, shape=like.shape)  # type: ignore[arg-type]
