"""Quantization-aware training: a network that computes on the grids of small integers, in floating point.

Built on torch's core operators `fake_quantize_per_channel_affine` and `fake_quantize_per_tensor_affine`. torch's own
eager-mode QAT (`torch.ao.quantization`) is deprecated and will be removed; of torchao, which takes its place, the eager
part knows Linear and Embedding alone, and the other part trains an exported program, whose module paths are no longer
the network's, by which features are tapped.
"""

from kdbench.distill.quantize.integer_layers import deployed
from kdbench.distill.quantize.layers import forget_ranges, is_quantized, with_fake_quantization
from kdbench.distill.quantize.sensitivity import rounding_sensitivity

__all__ = ["deployed", "forget_ranges", "is_quantized", "rounding_sensitivity", "with_fake_quantization"]
