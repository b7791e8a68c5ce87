"""Nodes that compute in float32 in a float16 file too: their operator, or its CPU kernel, has no float16 form."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kdbench.compress.graph_index import attribute

if TYPE_CHECKING:
    import onnx

_FLOAT32, _FLOAT16 = "tensor(float)", "tensor(float16)"
_SCALES = frozenset({"Resize", "GroupNorm", "SkipGroupNorm"})  # the converter keeps their float32 operands itself
# onnxruntime's schemas permit float16, and loading fails. BitCast keeps the number of bits.
_WITHOUT_KERNEL = frozenset({"BitCast", "MeanVarianceNormalization", "MelWeightMatrix"})
_WITH_REDUCTION = frozenset({"ScatterElements", "ScatterND"})  # whose kernels add no float16 numbers
# Operators of onnxruntime, for which onnx has no schemas.
_FLOAT32_ONLY = frozenset(
    {"AttnLSTM", "CDist", "MatMulFpQ4", "MaxpoolWithMask", "NGramRepeatBlock", "SparseToDenseMatMul"}
    | {"WordConvEmbedding"}
)
_STATISTICS = {  # the outputs that are float32 in any file
    "LayerNormalization": slice(1, 3),
    "SimplifiedLayerNormalization": slice(1, 2),
    "SkipLayerNormalization": slice(1, 3),
    "SkipSimplifiedLayerNormalization": slice(1, 3),
}


def float32_nodes(model: "onnx.ModelProto") -> list[str]:
    """Return the names of the nodes of the main graph that onnxruntime does not run in float16; all have names."""
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    return [node.name for node in model.graph.node if _is_float32(node, opsets.get(node.domain, 1))]


def _is_float32(node: "onnx.NodeProto", opset: int) -> bool:
    import onnx

    if node.op_type in _WITHOUT_KERNEL | _FLOAT32_ONLY:
        return True
    if node.op_type in _WITH_REDUCTION:
        return bool(attribute(node, "reduction", b"none") != b"none")
    if any(node.output[_STATISTICS.get(node.op_type, slice(0))]):
        return True
    if node.op_type in _SCALES:
        return False
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    except onnx.defs.SchemaError:
        return False
    operands = (*_types(node.input, schema.inputs), *_types(node.output, schema.outputs))
    return any(_FLOAT32 in types and _FLOAT16 not in types for types in operands)


def _types(names: Sequence[str], parameters: Sequence[Any]) -> Iterator[set[str]]:
    """Yield the types that each operand may have; the last parameter may stand for several."""
    for place, name in enumerate(names):
        if name and parameters:
            yield parameters[min(place, len(parameters) - 1)].types
