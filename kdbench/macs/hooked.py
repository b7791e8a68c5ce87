"""The conventions of thop and ptflops: the formulas of `tool_rules`, by hooks on a forward."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from kdbench.macs import Convention, LayerMacs, MacsReport
from kdbench.macs.tool_rules import PTFLOPS, PTFLOPS_FUNCTIONS, THOP, Rule

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class _Tally:
    """What a forward's hooks have counted; `depth` is above 0 inside a module that has a rule."""

    def __init__(self) -> None:
        self.layers: list[LayerMacs] = []
        self.unknown: list[str] = []
        self.depth = 0

    def enter(self, _module: nn.Module, _inputs: Any) -> None:
        self.depth += 1

    def leave(self, path: str, rule: Rule) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.depth -= 1
            self.layers.append((path, type(module).__name__, rule(module, inputs[0], output)))

        return hook

    def unruled(self, module: nn.Module, _inputs: Any, _output: Any) -> None:
        self.unknown.append(type(module).__name__)


class _Functions(TorchFunctionMode):
    """Counts calls of torch functions outside of modules that have a rule."""

    def __init__(self, tally: _Tally) -> None:
        super().__init__()
        self.tally = tally

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        rule = PTFLOPS_FUNCTIONS.get(getattr(func, "__name__", ""))
        if rule is not None and self.tally.depth == 0:
            self.tally.layers.append(("", func.__name__, rule(*args, **(kwargs or {}))))
        return func(*args, **(kwargs or {}))


def count_thop(module: nn.Module, sample: Tensor) -> MacsReport:
    """Count as thop does: modules with their rules; functional products and sums are missed."""
    return _count("thop", module, sample, THOP, lambda _tally: nullcontext())


def count_ptflops(module: nn.Module, sample: Tensor) -> MacsReport:
    """Count as ptflops' torch backend does: modules, bias included, and functional calls.

    Every operation counts once. ptflops 0.7.5 by default counts activation and pooling modules twice, by their
    hook and again by the function they call; with `count_functional=False` its modules count as here.
    """
    return _count("ptflops", module, sample, PTFLOPS, _Functions)


def _count(
    convention: Convention,
    module: nn.Module,
    sample: Tensor,
    rules: Mapping[type[nn.Module], Rule],
    functions: Callable[[_Tally], AbstractContextManager[Any]],
) -> MacsReport:
    tally = _Tally()
    handles = []
    for path, child in module.named_modules():
        rule = rules.get(type(child))
        if rule is not None:
            handles += [
                child.register_forward_pre_hook(tally.enter),
                child.register_forward_hook(tally.leave(path, rule)),
            ]
        elif _computes(child):
            handles.append(child.register_forward_hook(tally.unruled))
    try:
        with functions(tally):
            module(sample)
    finally:
        for handle in handles:
            handle.remove()
    return MacsReport.of(convention, tally.layers, tally.unknown)


def _computes(module: nn.Module) -> bool:
    """Tell whether a module without a rule does work of its own, rather than pass on to children."""
    is_torchs = type(module).__module__.startswith("torch.nn.modules") and not isinstance(module, _CONTAINERS)
    return is_torchs or next(module.children(), None) is None
