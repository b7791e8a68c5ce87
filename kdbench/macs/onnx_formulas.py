"""The ONNX operators that hold multiply–accumulates, each with its formula."""

import math
from collections.abc import Callable, Mapping

from kdbench.macs.onnx_graph import Operation
from kdbench.macs.operators import einsum_macs

Formula = Callable[[Operation], int | None]
"""The MACs of an operation, None if unknown; raises KeyError with the tensor whose shape is unknown."""


def _convolution(weight: int) -> Formula:
    """One product per output element and element of its group's kernel; input `weight` is (out, in/groups, k…)."""
    return lambda operation: math.prod(operation.output()) * math.prod(operation.input(weight)[1:])


def _transposed_convolution(operation: Operation) -> int:
    """One product per input element and element of its group's kernel; the weight is (in, out/groups, k…)."""
    return math.prod(operation.input(0)) * math.prod(operation.input(1)[1:])


def _product(operation: Operation) -> int:
    """Every output element sums over an axis of the left operand: the last one after transposition.

    FusedMatMul's left operand may also have its row or column axis before the batch axes (transBatchA).
    """
    batch_last = operation.attribute("transBatchA", 0)
    axis = (0 if batch_last else -2) if operation.attribute("transA", 0) else -1
    return math.prod(operation.output()) * operation.input(0)[axis]


def _nbits(operation: Operation) -> int:
    """MatMul with a packed right operand of K by N: every element of the left operand is used N times."""
    return math.prod(operation.input(0)) * int(operation.attribute("N", 0))


def _einsum(operation: Operation) -> int | None:
    shapes = [operation.known.shapes[name] for name in operation.node.input]
    return einsum_macs(operation.attribute("equation", b"").decode(), shapes)


def _recurrent(operation: Operation) -> int | None:
    """One product per step, direction and element of the input and recurrent weights; peepholes are not counted.

    Steps and batch are the first two axes of the input, in either order. Unknown if sequences are shorter than the
    input.
    """
    steps, batch, _ = operation.input(0)
    if operation.has(4):
        lengths = operation.constant(4)
        if lengths is None or (lengths != (batch if operation.attribute("layout", 0) else steps)).any():
            return None
    return steps * batch * (math.prod(operation.input(1)) + math.prod(operation.input(2)))


def attention_macs(rows: int, length: int, keys: int, width: int, value_width: int) -> int:
    """Q·Kᵀ and weights·V of `rows` heads: query (length, width), key (keys, width), value (keys, value_width).

    Masked elements are counted, because some kernels compute them.
    """
    return rows * length * keys * (width + value_width)


def _attention(operation: Operation) -> int | None:
    """Attention as in the standard: (B, heads, length, width) or (B, length, heads · width), and a past."""
    query, key, value = (operation.input(position) for position in range(3))
    past = operation.input(4)[2] if operation.has(4) else 0
    if len(query) == 4:
        batch, heads, length, width = query
        return attention_macs(batch * heads, length, key[2] + past, width, value[3])
    heads, shared = operation.attribute("q_num_heads", 0), operation.attribute("kv_num_heads", 0)
    if not heads or not shared:
        return None
    width, value_width = query[2] // heads, value[2] // shared
    return attention_macs(query[0] * heads, query[1], key[1] + past, width, value_width)


def _attention_with_weights(past: int) -> Formula:
    """onnxruntime's: input (B, L, features) times weights (features, widths of Q + K + V), then attention.

    Input `past`, if present, is (2, B, heads, keys, head width).
    """

    def formula(operation: Operation) -> int:
        batch, length, features = operation.input(0)
        widths = operation.input(1)[1]
        value_width = operation.output()[2]
        keys = length + (operation.input(past)[3] if operation.has(past) else 0)
        projections = batch * length * features * widths
        return projections + attention_macs(batch, length, keys, (widths - value_width) // 2, value_width)

    return formula


def _multi_head(operation: Operation) -> int:
    """Query, key and value as (B, length, width), the latter two also by head (B, heads, length, width) or packed."""
    query, (batch, length, value_width) = operation.input(0), operation.output()
    width = query[2] * query[4] if len(query) == 5 else query[2]
    key = operation.input(1) if operation.has(1) else query
    keys = key[2] if len(key) == 4 else key[1]
    past = operation.input(6)[2] if operation.has(6) else 0
    return attention_macs(batch, length, keys + past, width, value_width)


def _grouped_query(operation: Operation) -> int | None:
    """Multi-head attention with key and value shared by groups of heads; the used length of a past is a value."""
    batch, length, width = operation.output()
    total = operation.constant(6)
    if total is None and operation.has(3):
        return None
    keys = length if total is None else int(total.reshape(-1)[0])
    return attention_macs(batch, length, keys, width, width)


def _linear(operation: Operation) -> int:
    """Multiply every row (features) of the input with all coefficients, as a linear layer of a classical model does."""
    return math.prod(operation.input(0)[:-1]) * len(operation.attribute("coefficients", ()))


FORMULAS: Mapping[str, Formula] = {
    # DeformConv: sampling at the offsets is interpolation, as in Resize.
    **dict.fromkeys(("Conv", "FusedConv", "ConvInteger", "DeformConv"), _convolution(1)),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed_convolution,
    **dict.fromkeys(("Gemm", "FusedGemm", "QGemm", "GemmFastGelu", "FusedMatMul", "QLinearMatMul"), _product),
    **dict.fromkeys(("MatMul", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"), _product),
    **dict.fromkeys(("MatMulNBits", "MatMulBnb4"), _nbits),
    "Einsum": _einsum,
    **dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), _recurrent),
    "QAttention": _attention_with_weights(8),
    "MultiHeadAttention": _multi_head,
    "GroupQueryAttention": _grouped_query,
}
"""By operator, for names with the same meaning in the domains of the standard and of onnxruntime."""

BY_DOMAIN: Mapping[tuple[str, str], Formula] = {
    ("", "Attention"): _attention,
    ("com.microsoft", "Attention"): _attention_with_weights(4),
    ("ai.onnx.ml", "LinearClassifier"): _linear,
    ("ai.onnx.ml", "LinearRegressor"): _linear,
}
"""By domain and operator, for names with different meanings."""
