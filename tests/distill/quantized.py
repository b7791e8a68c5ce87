"""Small networks that are quantized, with and without ranges."""

import torch
from distill.networks import TinyNet, tiny
from torch import nn

from kdbench.distill.quantize import with_fake_quantization
from kdbench.recipe import Quantize

SHAPE = (1, 8, 8)


def options(weight_bits=8, activation_bits=8, first_last_bits=8) -> Quantize:
    return Quantize(weight_bits=weight_bits, activation_bits=activation_bits, first_last_bits=first_last_bits)


def quantized(bits: Quantize | None = None, **keys) -> TinyNet:
    return with_fake_quantization(tiny(**keys), bits or options(3, 4, 4))


def after_batches(network: nn.Module, count: int = 3) -> nn.Module:
    torch.manual_seed(1)
    network.train()
    for _ in range(count):
        network(torch.rand(16, *SHAPE))
    return network.eval()
