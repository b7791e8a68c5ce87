"""The formulas of thop and ptflops, one per module type; ptflops has some for functions too.

Both tools look at a module's exact type, so a subclass without a rule of its own counts nothing. Their formulas are
reproduced as they are, faults included: thop multiplies a transposed convolution by its output's cells.
Read from thop 0.1.1-2209072238 (vision/basic_hooks.py) and ptflops 0.7.5 (pytorch_ops.py).
"""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Rule = Callable[[Any, Tensor, Tensor], int]
"""The count of (module, its first input, its output)."""

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_NORMS = (*_BATCH_NORMS, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.LayerNorm)
_MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_AVERAGE_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_ADAPTIVE_AVERAGE_POOLS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
_ADAPTIVE_MAX_POOLS = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
_SHAPES = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout2d, nn.ZeroPad2d, nn.ReplicationPad2d)


def _none(_module: nn.Module, _x: Tensor, _y: Tensor) -> int:
    return 0


def _inputs(_module: nn.Module, x: Tensor, _y: Tensor) -> int:
    return x.numel()


def _outputs(_module: nn.Module, _x: Tensor, y: Tensor) -> int:
    return y.numel()


def _thop_conv(module: Any, x: Tensor, y: Tensor) -> int:
    kernel: int = math.prod(module.weight.shape[2:])
    return y.numel() * (x.shape[1] // int(module.groups)) * kernel


def _thop_norm(module: Any, x: Tensor, _y: Tensor) -> int:
    affine = getattr(module, "affine", False) or getattr(module, "elementwise_affine", False)
    return (4 if affine else 2) * x.numel()


def _thop_softmax(module: Any, x: Tensor, _y: Tensor) -> int:
    features: int = x.shape[module.dim]
    return x.numel() // features * (3 * features - 1)


def _thop_adaptive_pool(_module: nn.Module, x: Tensor, y: Tensor) -> int:
    window = math.prod(before / after for before, after in zip(x.shape[2:], y.shape[2:], strict=True))
    return int((window + 1) * y.numel())


def _thop_linear(module: Any, _x: Tensor, y: Tensor) -> int:
    return int(module.in_features) * y.numel()


def _with_bias(module: Any, macs: int, y: Tensor) -> int:
    return macs + (y.numel() if module.bias is not None else 0)


def _ptflops_conv(module: Any, _x: Tensor, y: Tensor) -> int:
    return _with_bias(module, y.numel() * math.prod(module.weight.shape[1:]), y)


def _ptflops_transposed(module: Any, x: Tensor, y: Tensor) -> int:
    return _with_bias(module, x.numel() * math.prod(module.weight.shape[1:]), y)


def _ptflops_linear(module: Any, _x: Tensor, y: Tensor) -> int:
    return _with_bias(module, int(module.in_features) * y.numel(), y)


def _ptflops_norm(module: Any, x: Tensor, _y: Tensor) -> int:
    return (2 if getattr(module, "affine", False) else 1) * x.numel()


THOP: dict[type[nn.Module], Rule] = {
    **dict.fromkeys((*_CONVS, *_TRANSPOSED), _thop_conv),
    **dict.fromkeys((*_NORMS, nn.SyncBatchNorm), _thop_norm),
    **dict.fromkeys(_AVERAGE_POOLS, _outputs),
    **dict.fromkeys(_ADAPTIVE_AVERAGE_POOLS, _thop_adaptive_pool),
    **dict.fromkeys((*_MAX_POOLS, *_ADAPTIVE_MAX_POOLS, nn.ReLU, nn.ReLU6, nn.LeakyReLU, *_SHAPES), _none),
    nn.PReLU: _inputs,
    nn.Softmax: _thop_softmax,
    nn.Linear: _thop_linear,
}

PTFLOPS: dict[type[nn.Module], Rule] = {
    **dict.fromkeys(_CONVS, _ptflops_conv),
    **dict.fromkeys(_TRANSPOSED, _ptflops_transposed),
    **dict.fromkeys((*_NORMS, nn.GroupNorm), _ptflops_norm),
    **dict.fromkeys((*_MAX_POOLS, *_AVERAGE_POOLS, *_ADAPTIVE_AVERAGE_POOLS, *_ADAPTIVE_MAX_POOLS), _inputs),
    **dict.fromkeys((nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.Upsample), _outputs),
    **dict.fromkeys(_SHAPES, _none),
    nn.Linear: _ptflops_linear,
}


def _matmul(x: Tensor, other: Tensor, *_: Any, **__: Any) -> int:
    return x.numel() * other.shape[-1]


def _elementwise(x: Any, other: Any, *_: Any, **__: Any) -> int:
    return max((operand.numel() for operand in (x, other) if isinstance(operand, Tensor)), default=1)


def _input_cells(x: Tensor, *_: Any, **__: Any) -> int:
    return x.numel()


# By the name of the torch function or tensor method, whichever of its spellings the model uses.
PTFLOPS_FUNCTIONS: dict[str, Callable[..., int]] = {
    **dict.fromkeys(("matmul", "mm", "bmm"), _matmul),
    **dict.fromkeys(("add", "add_", "mul", "mul_"), _elementwise),
    **dict.fromkeys(("relu", "relu_", "relu6", "prelu", "elu", "gelu", "silu", "softmax"), _input_cells),
    **dict.fromkeys(
        (f"{kind}_pool{rank}d" for kind in ("max", "avg", "adaptive_max", "adaptive_avg") for rank in (1, 2, 3)),
        _input_cells,
    ),
}
