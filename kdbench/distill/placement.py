"""Where and in which number format a training computes: what a recipe leaves to `auto`, decided by rule.

The rules look at the device and at the network, never at a clock: the same recipe on the same machine computes the
same.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from kdbench.distill.compiling import missing_compiler
from kdbench.errors import InputError
from kdbench.recipe import Training

# Parameters from which bf16 pays; in a smaller network the casts cost what the products save.
LEAST_FOR_BF16 = 100_000


def device_of(training: Training) -> torch.device:
    """Return the device that a recipe asks for; raises InputError where CUDA is asked for and absent."""
    if training.device == "cuda" and not torch.cuda.is_available():
        raise InputError("training.device is cuda, but PyTorch sees no GPU", 'use device = "auto" or "cpu"')
    use_cuda = training.device == "cuda" or (training.device == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_cuda else "cpu")


def resolved(training: Training, network: nn.Module) -> Training:
    """Return `training` with nothing left to `auto` of what the training's arithmetic depends on.

    bf16 where the device multiplies it and the network is large enough to gain; channels_last for convolutions;
    compiled on a GPU alone: on the CPUs that were measured (reports/training_speed) it gains nothing.
    """
    device = device_of(training)
    size = sum(parameter.numel() for parameter in network.parameters())
    choices = {
        "precision": "bf16" if computes_bf16(device) and size >= LEAST_FOR_BF16 else "32",
        "channels_last": any(isinstance(module, nn.Conv2d) for module in network.modules()),
        "compile": device.type == "cuda" and missing_compiler("cuda") is None,
    }
    return training.model_copy(
        update={key: choice for key, choice in choices.items() if getattr(training, key) == "auto"}
    )


def evaluation_batch(device: torch.device, batch: int) -> int:
    """Return a batch for passes without gradients: large on a GPU; on a CPU large blocks of memory cost more."""
    return max(batch, 512) if device.type == "cuda" else min(max(batch, 64), 128)


def computes_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 in hardware: a CPU that only emulates it is slower with it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    cpu: Any = torch.cpu
    return bool(cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported())  # noqa: SLF001 - none is public


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Return the context in which a network is run in `precision`, as Lightning runs it in training."""
    if precision == "32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)
