"""The output shapes of onnxruntime's own operators and of classical models, which onnx's inference does not support.

An operator with a standard counterpart whose output has the same shape is replaced by it while shapes are inferred; the
graph that is counted keeps its operators. The others have a rule for the shape of their first output.

`onnxruntime.tools.symbolic_shape_infer` cannot replace it: it needs sympy, which onnxruntime does not install, and
fails on FusedConv, QGemm, FusedMatMul, DynamicQuantizeMatMul, QAttention and others.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kdbench.macs.onnx_graph import Graph, Node, Operation, Shape, replace_nodes
from kdbench.modelfile.graphs.weights import subgraphs

_MICROSOFT, _CLASSICAL = "com.microsoft", "ai.onnx.ml"

_SHAPE_KEEPING = """
    QLinearSigmoid QLinearLeakyRelu QLinearSoftmax QuantizeLinear DequantizeLinear Gelu FastGelu QuickGelu BiasGelu
    BiasSoftmax BiasAdd RotaryEmbedding SkipLayerNormalization SkipSimplifiedLayerNormalization GroupNorm
"""
# The standard operator, and the inputs it keeps.
_REPLACEMENTS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "FusedConv": ("Conv", (0, 1)),
    "FusedGemm": ("Gemm", (0, 1)),
    "QGemm": ("Gemm", (0, 3)),
    "GemmFastGelu": ("MatMul", (0, 1)),
    "DynamicQuantizeMatMul": ("MatMul", (0, 1)),
    "MatMulIntegerToFloat": ("MatMul", (0, 1)),
    "DynamicQuantizeLSTM": ("LSTM", (0, 1, 2)),
    "QLinearConv": ("Conv", (0, 3)),
    "NhwcMaxPool": ("MaxPool", (0,)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    **dict.fromkeys(_SHAPE_KEEPING.split(), ("Identity", (0,))),
}
# Of the domain of classical models: the output has the shape of the input.
_FEATURES = frozenset({"Binarizer", "Imputer", "Normalizer", "Scaler"})
# Before opset 17, onnxruntime writes these in the standard's domain, where the standard does not define them.
_EARLY = frozenset({"LayerNormalization", "SimplifiedLayerNormalization"})


def replace_by_standard(graph: Graph) -> None:
    """Replace onnxruntime's operators by standard ones, in `graph` and its subgraphs."""
    for node in graph.node:
        for inner in subgraphs(node):
            replace_by_standard(inner)
    replace_nodes(graph, [standard for node in graph.node for standard in _standardised(node)])


def _standardised(node: Node) -> list[Node]:
    """Return standard nodes whose outputs have the shapes of `node`'s."""
    from onnx import helper

    if node.op_type in _EARLY or (node.domain == _CLASSICAL and node.op_type in _FEATURES):
        return [helper.make_node("Identity", [node.input[0]], [node.output[0]])]
    if node.domain != _MICROSOFT or node.op_type not in {*_REPLACEMENTS, "FusedMatMul", "QLinearConcat"}:
        return [node]
    if node.op_type == "FusedMatMul":
        return [helper.make_node("Einsum", node.input, node.output, equation=_fused_equation(node))]
    if node.op_type == "QLinearConcat":  # the result's scale and zero point, then three inputs for each operand
        (axis,) = (attribute for attribute in node.attribute if attribute.name == "axis")
        return [helper.make_node("Concat", node.input[2::3], node.output, axis=axis.i)]
    standard, positions = _REPLACEMENTS[node.op_type]
    if node.op_type == "NhwcMaxPool" or any(a.name == "channels_last" and a.i for a in node.attribute):
        return _channels_last(node, standard, [node.input[i] for i in positions])
    # The fourth output of Skip…Normalization is the sum that is normalised. Those of LSTM are its own.
    single = [[name] for name in (*node.output[:1], *node.output[3:4]) if name]
    outputs = [list(node.output)] if standard == "LSTM" else single
    nodes = [helper.make_node(standard, [node.input[i] for i in positions], names) for names in outputs]
    for replacement in nodes:
        replacement.attribute.extend(node.attribute)
    return nodes


def _channels_last(node: Node, standard: str, operands: list[str]) -> list[Node]:
    """Return the operator `standard`, which takes channels first, between transpositions."""
    from onnx import helper

    output = node.output[0]
    kernel = next((attribute.ints for attribute in node.attribute if attribute.name == "kernel_shape"), (1, 1))
    last = len(kernel) + 1  # the axis of the channels
    first, inner = (f"{output}/{name}" for name in ("channels_first", standard))
    middle = helper.make_node(standard, [first, *operands[1:]], [inner])
    middle.attribute.extend(node.attribute)
    return [
        helper.make_node("Transpose", operands[:1], [first], perm=[0, last, *range(1, last)]),
        middle,
        helper.make_node("Transpose", [inner], [output], perm=[0, *range(2, last + 1), 1]),
    ]


def _fused_equation(node: Node) -> str:
    """Return FusedMatMul as an Einstein sum: `trans` swaps the last two axes, `transBatch` moves the first inwards."""
    flags = {attribute.name for attribute in node.attribute if attribute.name.startswith("trans") and attribute.i}

    def term(rows: str, columns: str, operand: str) -> str:
        if f"trans{operand}" in flags:
            rows, columns = columns, rows
        return f"{rows}...{columns}" if f"transBatch{operand}" in flags else f"...{rows}{columns}"

    return f"{term('i', 'k', 'A')},{term('k', 'j', 'B')}->...ij"


def _nbits(operation: Operation) -> Shape:
    """Left operand (…, K), right operand packed as (N, blocks, bytes)."""
    return (*operation.input(0)[:-1], operation.attribute("N", 0))


def _attention(operation: Operation) -> Shape:
    """Input (B, L, features), weights (features, Q + K + V widths)."""
    *rows, _ = operation.input(0)
    widths = operation.attribute("qkv_hidden_sizes", [])
    return (*rows, widths[2] if widths else operation.input(1)[1] // 3)


def _multi_head(operation: Operation) -> Shape:
    """Query (B, L, width), or (B, L, heads, 3, head width) with key and value in it; value (B, S, width) or by head."""
    query = operation.input(0)
    if len(query) == 5:
        return (*query[:2], query[2] * query[4])
    value = operation.input(2) if operation.has(2) else query  # the key holds the value: of the query's width
    return (*query[:2], value[1] * value[3] if len(value) == 4 else value[-1])


def _grouped(operation: Operation) -> Shape:
    """Query (B, L, width), or (B, L, width of query, key and value) with these in it."""
    batch, length, width = operation.input(0)
    heads, shared = operation.attribute("num_heads", 1), operation.attribute("kv_num_heads", 1)
    return (batch, length, width if operation.has(1) else width // (heads + 2 * shared) * heads)


RULES: Mapping[str, Callable[[Operation], Shape]] = {
    "MatMulNBits": _nbits,
    "MatMulBnb4": _nbits,
    "Attention": _attention,
    "QAttention": _attention,
    "MultiHeadAttention": _multi_head,
    "GroupQueryAttention": _grouped,
}
"""The shape of the first output, by operator. A rule raises KeyError if an input's shape is unknown."""


def ruled_outputs(operations: list[Operation]) -> list[Any]:
    """Return the outputs whose unknown shapes follow from a rule, as value infos of a graph."""
    from onnx import TensorProto, helper

    floats = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16}
    values = []
    for operation in operations:
        node = operation.node
        if node.domain != _MICROSOFT or node.op_type not in RULES or node.output[0] in operation.known.shapes:
            continue
        try:
            shape = RULES[node.op_type](operation)
        except KeyError:
            continue  # the shapes of its inputs may be known after the next inference
        # Such an output has the element type of the first float input.
        types = (operation.known.types.get(name, 0) for name in node.input)
        element = next((element for element in types if element in floats), TensorProto.FLOAT)
        values.append(helper.make_tensor_value_info(node.output[0], element, shape))
    return values
