"""Networks that their factory compiled: without the compilation, which skips hooks and does not export."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def uncompiled(network: "nn.Module") -> "nn.Module":
    """Return a network with its modules as they were before `torch.compile` or `Module.compile`; others as they are.

    A compiled module calls its layers without their hooks, so that none can be tapped, and calls its weights
    `_orig_mod.…`. What a network keeps elsewhere than in its modules, such as a compiled function, stays compiled.

        uncompiled(torch.compile(network)) is network    # True
    """
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and importing it takes a second
        return network
    network = _original(network)
    for module in network.modules():
        module._compiled_call_impl = None  # noqa: SLF001 - no public name undoes Module.compile
        for name, child in list(module._modules.items()):  # noqa: SLF001 - named_children leaves second names out
            if child is not None and (original := _original(child)) is not child:
                setattr(module, name, original)
    return network


def _original(module: "nn.Module") -> "nn.Module":
    from torch._dynamo import OptimizedModule

    return module._orig_mod if isinstance(module, OptimizedModule) else module  # noqa: SLF001
