"""Count a torch module's multiply–accumulates under a convention.

The canonical and the fvcore convention use fvcore's trace of a forward pass and a table of formulas by operator;
`hooked` has the conventions of thop and ptflops.
"""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.errors import InputError, first_line
from kdbench.macs import Convention, MacsReport
from kdbench.macs.hooked import count_hooked
from kdbench.macs.operators import ATEN, einsum_macs
from kdbench.registry import suggestion

_RECURRENT = ("gru", "rnn_tanh", "rnn_relu", "lstm")

Value = Any  # torch._C.Value, which torch does not type
Handle = Callable[[list[Value], list[Value]], Counter[str]]
"""The MACs of an operator of a trace, by name, from its inputs and outputs."""


def count_canonical(module: nn.Module, sample: Tensor) -> MacsReport:
    """Count convolutions, linear layers and matrix products whose inputs depend on the sample, nothing else."""
    JitModelAnalysis, _ = _fvcore()  # noqa: N806 - a class
    unknown: list[str] = []
    known: dict[str, bool] = {}
    handles = {op: _sample_dependent(handle, known) for op, handle in _canonical_handles(unknown).items()}
    analysis = JitModelAnalysis(module, (sample,)).set_op_handle(**dict.fromkeys(ATEN), **handles)
    return _report("canonical", analysis, unknown)


def count_fvcore(module: nn.Module, sample: Tensor) -> MacsReport:
    """Count by fvcore's table of flops; `uncounted` are the operators that fvcore warns about."""
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
        warnings.simplefilter("ignore")  # Only shapes are read from the trace, so it need not be general.
        totals: dict[str, Counter[str]] = analysis.by_module_and_operator()
    exclusive = {path: Counter(counts) for path, counts in totals.items()}
    for path, counts in totals.items():
        if path:  # A module's total includes those of its children.
            exclusive[path.rpartition(".")[0]].subtract(counts)
    layers = [(path, op, int(macs)) for path, counts in exclusive.items() for op, macs in counts.items()]
    return MacsReport.of(convention, layers, [*analysis.unsupported_ops(), *unknown])


def _sample_dependent(handle: Handle, known: dict[str, bool]) -> Handle:
    """Return a handle that counts zero if all inputs are weights: an export folds such operations into constants."""

    def formula(inputs: list[Value], outputs: list[Value]) -> Counter[str]:
        return handle(inputs, outputs) if any(_depends(value, known) for value in inputs) else Counter()

    return formula


def _depends(value: Value, known: dict[str, bool]) -> bool:
    """Return whether a value is computed from the trace's first input, the sample; the other inputs are weights.

    `known` caches results by name. Not recursive, because a chain of operators may be longer than Python's stack.
    """
    pending = [value]
    while pending:
        last = pending[-1]
        name, node = last.debugName(), last.node()
        inputs = [] if node.kind() == "prim::Param" else list(node.inputs())
        if unknown := [item for item in inputs if item.debugName() not in known]:
            pending += unknown
            continue
        pending.pop()
        if node.kind() == "prim::Param":
            known[name] = name == next(node.outputs()).debugName()
        else:
            known[name] = any(known[item.debugName()] for item in inputs)
    return known[value.debugName()]


def _shape(value: Value) -> list[int]:
    return list(value.type().sizes())


def _convolution(inputs: list[Value], outputs: list[Value]) -> Counter[str]:
    """One product per output element and element of its group's kernel; if transposed, per input element.

    Only `aten::_convolution` may be transposed: its input 6 is the flag.
    """
    node = outputs[0].node()
    cells = inputs[0] if node.kind() == "aten::_convolution" and inputs[6].toIValue() else outputs[0]
    return Counter(conv=math.prod(_shape(cells)) * math.prod(_shape(inputs[1])[1:]))


def _product(op: str, operand: int) -> Handle:
    """Return the formula of a matrix product: each output element sums over the last axis of input `operand`."""

    def formula(inputs: list[Value], outputs: list[Value]) -> Counter[str]:
        return Counter({op: math.prod(_shape(outputs[0])) * _shape(inputs[operand])[-1]})

    return formula


def _attention(inputs: list[Value], _outputs: list[Value]) -> Counter[str]:
    """Q·Kᵀ and weights·V: query (…, L, E), key (…, S, E), value (…, S, V)."""
    *batch, length, width = _shape(inputs[0])
    *_, keys, value_width = _shape(inputs[2])
    return Counter(attention=math.prod(batch) * length * keys * (width + value_width))


def _recurrent(op: str) -> Handle:
    """Return the formula of a recurrent layer: each step takes one product per element of its weight matrices.

    Input 2 lists weights and biases; the input is (length, batch, features) or (batch, length, features). Packed
    sequences are (steps of all sequences, features), with the weights in input 3. A cell is one step, of an input
    (batch, features); its weights are inputs 2 and 3.
    """

    def formula(inputs: list[Value], _outputs: list[Value]) -> Counter[str]:
        packed = inputs[3].type().kind() == "ListType"
        weights = inputs[2:4] if op.endswith("_cell") else inputs[3 if packed else 2].node().inputs()
        matrices = sum(math.prod(shape) for weight in weights if len(shape := _shape(weight)) == 2)
        return Counter({op: math.prod(_shape(inputs[0])[:-1]) * matrices})

    return formula


def _canonical_handles(unknown: list[str]) -> dict[str, Handle]:
    def einsum(inputs: list[Value], _outputs: list[Value]) -> Counter[str]:
        equation, steps = inputs[0].toIValue(), inputs[2].toIValue()
        path = list(zip(steps[::2], steps[1::2], strict=True)) if steps else None
        macs = einsum_macs(equation, [_shape(operand) for operand in inputs[1].node().inputs()], path)
        if macs is None:
            unknown.append(f"aten::einsum({equation})")
        return Counter(einsum=macs or 0)

    return {
        "aten::_convolution": _convolution,
        "aten::_convolution_mode": _convolution,
        "aten::linear": _product("linear", 0),
        "aten::addmm": _product("linear", 1),
        **{f"aten::{op}": _product("matmul", 0) for op in ("mm", "mv", "dot", "bmm", "matmul")},
        **{f"aten::{op}": _product("matmul", 1) for op in ("addmv", "baddbmm")},
        "aten::scaled_dot_product_attention": _attention,
        "aten::einsum": einsum,
        "torchvision::deform_conv2d": _convolution,
        **{f"aten::{op}{cell}": _recurrent(op + cell) for op in _RECURRENT for cell in ("", "_cell")},
    }


_COUNTERS: dict[Convention, Callable[[nn.Module, Tensor], MacsReport]] = {
    "canonical": count_canonical,
    "fvcore": count_fvcore,
    "thop": partial(count_hooked, "thop"),
    "ptflops": partial(count_hooked, "ptflops"),
}


def count_module(module: nn.Module, input_shape: tuple[int, ...], convention: Convention = "canonical") -> MacsReport:
    """Count the MACs of `module` for one sample of `input_shape`, without the batch axis, in eval mode.

    The module runs once; its mode, hooks and weights are restored. Raises InputError for an unknown convention and for
    an input that the module cannot take.
    """
    if convention not in _COUNTERS:
        raise InputError(f"unknown MACs convention {convention!r}", suggestion(convention, _COUNTERS))
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.empty(0))
    # A network that begins with an embedding takes token ids.
    first = next((m for m in module.modules() if next(m.parameters(recurse=False), None) is not None), None)
    dtype = torch.int64 if isinstance(first, nn.Embedding) else like.dtype
    sample = torch.zeros(1, *input_shape, device=like.device, dtype=dtype)
    with _restored(module), torch.no_grad():
        try:
            module.eval()(sample)
        except Exception as error:  # of the network's code
            shape = "x".join(str(size) for size in input_shape)
            message = f"the model cannot take an input of {shape}: {first_line(error)}"
            raise InputError(message, "check --input") from error
        return _COUNTERS[convention](module, sample)


@contextmanager
def _restored(module: nn.Module) -> Iterator[None]:
    """Restore every submodule's mode, and remove hooks that were added: fvcore leaves its hooks behind on failure."""
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
            for original, present in ((after, child._forward_hooks), (before, child._forward_pre_hooks)):  # noqa: SLF001 - as above
                for key in set(present) - original:
                    del present[key]
