"""Unwrapping networks that their factory compiled, or wrapped for another trainer: wrappers hide the layers."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_COMPILER = "torch._dynamo"  # loaded if anything is compiled; importing it takes a second
_INNER = {
    "torch.nn.parallel.data_parallel": ("DataParallel", "module"),
    "torch.nn.parallel.distributed": ("DistributedDataParallel", "module"),
    "torch.optim.swa_utils": ("AveragedModel", "module"),
    "torch._dynamo.eval_frame": ("OptimizedModule", "_orig_mod"),
}
"""Wrappers that call the network inside with their inputs: module, class, and the attribute that holds it."""


def unwrapped(network: "nn.Module") -> "nn.Module":
    """Return a network without `torch.compile`, `Module.compile`, `DataParallel` and similar wrappers.

    A compiled module ignores the hooks of its layers, which kdbench uses to read features, and names its weights
    `_orig_mod.…`; `DataParallel` names them `module.…`. Compiled functions outside modules stay compiled.

        unwrapped(torch.compile(network)) is network    # True
    """
    network = _inner(network)
    for module in network.modules():
        if _COMPILER in sys.modules:
            module._compiled_call_impl = None  # noqa: SLF001 - no public name undoes Module.compile
        for name, child in list(module._modules.items()):  # noqa: SLF001 - named_children leaves second names out
            if child is not None and (original := _inner(child)) is not child:
                setattr(module, name, original)
    return network


def _inner(module: "nn.Module") -> "nn.Module":
    """Return the module inside the wrappers of a module; the module itself if it has none."""
    kind = type(module)
    name, attribute = _INNER.get(kind.__module__, ("", ""))
    return _inner(getattr(module, attribute)) if kind.__name__ == name else module
