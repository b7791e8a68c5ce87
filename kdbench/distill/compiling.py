"""Compiled training steps: what `training.compile` asks for."""

from typing import cast

import torch
from torch import nn

from kdbench.errors import InputError


def missing_compiler(device: str) -> str | None:
    """Return what torch.compile lacks here to make code for "cuda" or "cpu"; None where it lacks nothing."""
    # torch's own searches, so that both look in the same places; none is public.
    if device == "cuda":
        from torch.utils._triton import has_triton

        return None if has_triton() else "Triton, and a GPU that it makes code for"
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "a C++ compiler"
    return None


def check_compiler(device: str) -> None:
    """Raise InputError where torch.compile has no compiler to hand its code to."""
    missing = missing_compiler(device)
    if missing is not None:
        raise InputError(f"training.compile is true, and torch.compile lacks {missing}", "set training.compile = false")


def compiled(network: nn.Module) -> nn.Module:
    """Return `network` with its forward compiled at first call; weights and mode stay those of `network`.

    Every batch size gets code of its own. Code for any size would be made when the first left-over batch comes and used
    for all from then on: after an interruption the same epoch would be computed by other code, maybe to other bits.
    """
    # What was made for earlier networks of the same class counts towards torch's limit, beyond which it gives up.
    torch.compiler.reset()
    return cast("nn.Module", torch.compile(network, dynamic=False))
