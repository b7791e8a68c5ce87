"""Fake quantization during training (being written)."""

from torch import nn

from kdbench.recipe import Quantize


def with_fake_quantization(network: nn.Module, options: Quantize) -> nn.Module:
    return network
