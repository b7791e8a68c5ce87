"""The canonical and the fvcore convention: operators of a traced forward, by fvcore's trace and a table of formulas."""

import math
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from kdbench.measure.macs import Convention, LayerMacs, MacsReport
from kdbench.measure.macs.einsum import einsum_macs
from kdbench.measure.macs.weightless import ATEN

Value = Any  # torch._C.Value, which torch does not type


def count_canonical(module: nn.Module, sample: Tensor) -> MacsReport:
    """Count convolutions, linear layers and matrix products, nothing else."""
    JitModelAnalysis, _ = _fvcore()  # noqa: N806 - a class
    unknown: list[str] = []
    analysis = JitModelAnalysis(module, (sample,)).set_op_handle(**dict.fromkeys(ATEN), **_canonical_handles(unknown))
    return _report("canonical", analysis, unknown)


def count_fvcore(module: nn.Module, sample: Tensor) -> MacsReport:
    """Count what fvcore's own table calls flops; `uncounted` is what fvcore warns about."""
    _, FlopCountAnalysis = _fvcore()  # noqa: N806 - a class
    return _report("fvcore", FlopCountAnalysis(module, (sample,)), [])


def _fvcore() -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore scripts a function on import, which torch has deprecated.
        from fvcore.nn import FlopCountAnalysis
        from fvcore.nn.jit_analysis import JitModelAnalysis
    return JitModelAnalysis, FlopCountAnalysis


def _report(convention: Convention, analysis: Any, unknown: list[str]) -> MacsReport:
    analysis.unsupported_ops_warnings(enabled=False).uncalled_modules_warnings(enabled=False).tracer_warnings("all")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Only shapes are read from the trace: that it is not general is no matter.
        totals: dict[str, Counter[str]] = analysis.by_module_and_operator()
    own = {path: Counter(counts) for path, counts in totals.items()}
    for path, counts in totals.items():
        if path:  # A module's total holds its children's.
            own[path.rpartition(".")[0]].subtract(counts)
    layers: list[LayerMacs] = [(path, op, int(macs)) for path, counts in own.items() for op, macs in counts.items()]
    return MacsReport.of(convention, layers, [*analysis.unsupported_ops(), *unknown])


def _shape(value: Value) -> list[int]:
    sizes: list[int] = value.type().sizes()
    return sizes


def _convolution(inputs: list[Value], outputs: list[Value]) -> Counter[str]:
    """Every output cell takes one product per cell of its group's kernel; transposed, every input cell gives one."""
    transposed = inputs[6].toIValue()
    cells = inputs[0] if transposed else outputs[0]
    return Counter(conv=math.prod(_shape(cells)) * math.prod(_shape(inputs[1])[1:]))


def _convolution_mode(inputs: list[Value], outputs: list[Value]) -> Counter[str]:
    """As a convolution: the one whose padding is given by name, never transposed."""
    return Counter(conv=math.prod(_shape(outputs[0])) * math.prod(_shape(inputs[1])[1:]))


def _product(op: str, operand: int) -> Callable[[list[Value], list[Value]], Counter[str]]:
    """Return the formula of a matrix product: each output cell sums over the last axis of input `operand`."""

    def formula(inputs: list[Value], outputs: list[Value]) -> Counter[str]:
        return Counter({op: math.prod(_shape(outputs[0])) * _shape(inputs[operand])[-1]})

    return formula


def _attention(inputs: list[Value], _outputs: list[Value]) -> Counter[str]:
    """Q·Kᵀ and weights·V: query (…, L, E), key (…, S, E), value (…, S, V)."""
    *batch, length, width = _shape(inputs[0])
    *_, keys, value_width = _shape(inputs[2])
    return Counter(attention=math.prod(batch) * length * keys * (width + value_width))


def _canonical_handles(unknown: list[str]) -> dict[str, Callable[[list[Value], list[Value]], Counter[str]]]:
    def einsum(inputs: list[Value], _outputs: list[Value]) -> Counter[str]:
        equation = inputs[0].toIValue()
        macs = einsum_macs(equation, [_shape(operand) for operand in inputs[1].node().inputs()])
        if macs is None:
            unknown.append(f"aten::einsum({equation})")
        return Counter(einsum=macs or 0)

    return {
        "aten::_convolution": _convolution,
        "aten::_convolution_mode": _convolution_mode,
        "aten::linear": _product("linear", 0),
        "aten::addmm": _product("linear", 1),
        "aten::mm": _product("matmul", 0),
        "aten::bmm": _product("matmul", 0),
        "aten::baddbmm": _product("matmul", 1),
        "aten::matmul": _product("matmul", 0),
        "aten::scaled_dot_product_attention": _attention,
        "aten::einsum": einsum,
    }
