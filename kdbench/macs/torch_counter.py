"""Count a torch module's multiply–accumulates under the convention of one's choice."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from kdbench.errors import InputError
from kdbench.macs import Convention, MacsReport
from kdbench.macs.hooked import count_ptflops, count_thop
from kdbench.macs.traced import count_canonical, count_fvcore
from kdbench.registry import suggestion

_COUNTERS: dict[Convention, Callable[[nn.Module, Tensor], MacsReport]] = {
    "canonical": count_canonical,
    "fvcore": count_fvcore,
    "thop": count_thop,
    "ptflops": count_ptflops,
}


def count_module(module: nn.Module, input_shape: tuple[int, ...], convention: Convention = "canonical") -> MacsReport:
    """Count the MACs of `module` for one sample of `input_shape`, without the batch axis, in eval mode.

    The module is run once and left as it was found: its mode, its hooks and its weights. Raises InputError for
    an unknown convention and for an input that the module cannot take.
    """
    if convention not in _COUNTERS:
        raise InputError(f"unknown MACs convention {convention!r}", suggestion(convention, _COUNTERS))
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.empty(0))
    sample = torch.zeros(1, *input_shape, device=like.device, dtype=like.dtype)
    with _left_as_found(module), torch.no_grad():
        try:
            module.eval()(sample)
        except (RuntimeError, ValueError, AssertionError) as error:
            shape = "x".join(str(size) for size in input_shape)
            raise InputError(f"the model cannot take an input of {shape}: {error}", "check --input") from error
        return _COUNTERS[convention](module, sample)


@contextmanager
def _left_as_found(module: nn.Module) -> Iterator[None]:
    """Put every submodule's mode back, and take hooks away that were not there: fvcore leaves its own on failure."""
    modules = list(module.modules())
    modes = [child.training for child in modules]
    hooks = [(set(child._forward_hooks), set(child._forward_pre_hooks)) for child in modules]  # noqa: SLF001 - no public list
    # Multi-head attention has a fused path for inference that hides its matrix products.
    fused_attention = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused_attention)
        for child, mode, (after, before) in zip(modules, modes, hooks, strict=True):
            child.training = mode
            for found, held in ((after, child._forward_hooks), (before, child._forward_pre_hooks)):  # noqa: SLF001 - as above
                for key in set(held) - found:
                    del held[key]
