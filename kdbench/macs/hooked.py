"""The conventions of thop and ptflops: their formulas, one per module type, applied by hooks during a forward pass.

Both tools use a module's exact type, so a subclass without a rule counts zero. Their formulas are reproduced with their
faults: for a transposed convolution, thop multiplies by the number of output elements. Read from thop
0.1.1-2209072238 (vision/basic_hooks.py) and ptflops 0.7.5 (pytorch_ops.py); ptflops has formulas for functions too.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from kdbench.macs import LayerMacs, MacsReport

Rule = Callable[[Any, Tensor, Tensor], int]
"""The count of (module, its first input, its output)."""

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_NORMS = (*_BATCH_NORMS, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.LayerNorm)
_MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_AVERAGE_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_ADAPTIVE_AVERAGE_POOLS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
_ADAPTIVE_MAX_POOLS = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
_SHAPES = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout2d, nn.ZeroPad2d, nn.ReplicationPad2d)

# Rules are values of the tables below.
_zero: Rule = lambda _module, _x, _y: 0  # noqa: E731
_inputs: Rule = lambda _module, x, _y: x.numel()  # noqa: E731
_outputs: Rule = lambda _module, _x, y: y.numel()  # noqa: E731
_linear: Rule = lambda module, _x, y: module.in_features * y.numel()  # noqa: E731
_conv: Rule = lambda module, _x, y: y.numel() * math.prod(module.weight.shape[1:])  # noqa: E731
_transposed: Rule = lambda module, x, _y: x.numel() * math.prod(module.weight.shape[1:])  # noqa: E731


def _thop_conv(module: Any, x: Tensor, y: Tensor) -> int:
    return int(y.numel() * (x.shape[1] // module.groups) * math.prod(module.weight.shape[2:]))


def _thop_norm(module: Any, x: Tensor, _y: Tensor) -> int:
    affine = getattr(module, "affine", False) or getattr(module, "elementwise_affine", False)
    return (4 if affine else 2) * x.numel()


def _thop_softmax(module: Any, x: Tensor, _y: Tensor) -> int:
    features: int = x.shape[module.dim]
    return x.numel() // features * (3 * features - 1)


def _thop_adaptive_pool(_module: nn.Module, x: Tensor, y: Tensor) -> int:
    window = math.prod(before / after for before, after in zip(x.shape[2:], y.shape[2:], strict=True))
    return int((window + 1) * y.numel())


def _with_bias(rule: Rule) -> Rule:
    return lambda module, x, y: rule(module, x, y) + (y.numel() if module.bias is not None else 0)


def _ptflops_norm(module: Any, x: Tensor, _y: Tensor) -> int:
    return (2 if getattr(module, "affine", False) else 1) * x.numel()


THOP: dict[type[nn.Module], Rule] = {
    **dict.fromkeys((*_CONVS, *_TRANSPOSED), _thop_conv),
    **dict.fromkeys((*_NORMS, nn.SyncBatchNorm), _thop_norm),
    **dict.fromkeys(_AVERAGE_POOLS, _outputs),
    **dict.fromkeys(_ADAPTIVE_AVERAGE_POOLS, _thop_adaptive_pool),
    **dict.fromkeys((*_MAX_POOLS, *_ADAPTIVE_MAX_POOLS, nn.ReLU, nn.ReLU6, nn.LeakyReLU, *_SHAPES), _zero),
    nn.PReLU: _inputs,
    nn.Softmax: _thop_softmax,
    nn.Linear: _linear,
}

PTFLOPS: dict[type[nn.Module], Rule] = {
    **dict.fromkeys(_CONVS, _with_bias(_conv)),
    **dict.fromkeys(_TRANSPOSED, _with_bias(_transposed)),
    **dict.fromkeys((*_NORMS, nn.GroupNorm), _ptflops_norm),
    **dict.fromkeys((*_MAX_POOLS, *_AVERAGE_POOLS, *_ADAPTIVE_AVERAGE_POOLS, *_ADAPTIVE_MAX_POOLS), _inputs),
    **dict.fromkeys((nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.Upsample), _outputs),
    **dict.fromkeys(_SHAPES, _zero),
    nn.Linear: _with_bias(_linear),
}


def _elementwise(x: Any, other: Any, *_: Any) -> int:
    return max((operand.numel() for operand in (x, other) if isinstance(operand, Tensor)), default=1)


_POOLS = [f"{kind}_pool{rank}d" for kind in ("max", "avg", "adaptive_max", "adaptive_avg") for rank in (1, 2, 3)]
_UNARY = ("relu", "relu_", "relu6", "prelu", "elu", "gelu", "silu", "softmax", *_POOLS)

# By the name of the torch function or tensor method; the arguments are its operands.
PTFLOPS_FUNCTIONS: dict[str, Callable[..., int]] = {
    **dict.fromkeys(("matmul", "mm", "bmm"), lambda x, other, *_: x.numel() * other.shape[-1]),
    **dict.fromkeys(("add", "add_", "mul", "mul_"), _elementwise),
    **dict.fromkeys(_UNARY, lambda x, *_: x.numel()),
}
_OPERANDS = ("input", "other", "mat2")  # names of the first and the second, in this order


class _Tally(TorchFunctionMode):
    """Counts modules by hooks and, as a context, calls of torch functions outside modules that have a rule.

    `depth` is above 0 inside a module that has a rule.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[LayerMacs] = []
        self.unknown: list[str] = []
        self.depth = 0

    def enter(self, _module: nn.Module, _inputs: Any) -> None:
        self.depth += 1

    def leave(self, path: str, rule: Rule) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> None:
            self.depth -= 1
            first, *_ = (*inputs, *named.values())
            self.layers.append((path, type(module).__name__, rule(module, first, output)))

        return hook

    def note_unknown(self, module: nn.Module, _inputs: Any, _output: Any) -> None:
        self.unknown.append(type(module).__name__)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        rule, named = PTFLOPS_FUNCTIONS.get(getattr(func, "__name__", "")), kwargs or {}
        if rule is not None and self.depth == 0:
            operands = (*args, *(named[name] for name in _OPERANDS if name in named))
            self.layers.append(("", func.__name__, rule(*operands)))
        return func(*args, **named)


def count_hooked(convention: Literal["thop", "ptflops"], module: nn.Module, sample: Tensor) -> MacsReport:
    """Count as thop does, or as ptflops' torch backend does.

    thop counts modules; it misses functional products and sums. ptflops counts modules, bias included, and functional
    calls. Every operation counts once: ptflops 0.7.5 by default counts activation and pooling modules twice, by their
    hook and again by the function they call; with `count_functional=False` its modules count as here.
    """
    tally = _Tally()
    rules, functions = (THOP, nullcontext()) if convention == "thop" else (PTFLOPS, tally)
    handles = []
    for path, child in module.named_modules():
        rule = rules.get(type(child))
        if rule is not None:
            handles.append(child.register_forward_pre_hook(tally.enter))
            handles.append(child.register_forward_hook(tally.leave(path, rule), with_kwargs=True))
        elif _computes(child):
            handles.append(child.register_forward_hook(tally.note_unknown))
    try:
        with functions:
            module(sample)
    finally:
        for handle in handles:
            handle.remove()
    return MacsReport.of(convention, tally.layers, tally.unknown)


def _computes(module: nn.Module) -> bool:
    """Return whether a module without a rule computes something itself, instead of only calling its children."""
    is_torch_layer = type(module).__module__.startswith("torch.nn.modules") and not isinstance(module, _CONTAINERS)
    return is_torch_layer or next(module.children(), None) is None
