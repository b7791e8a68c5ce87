"""The graph of an ONNX model without its weights, as a hash: the same for models that differ in their weights alone."""

import hashlib
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

_FLOATS = {1, 10, 11, 16}  # ONNX element types: float32, float16, float64, bfloat16


def graph_sha256(model: "onnx.ModelProto") -> str:
    """Return the SHA-256 of a model's nodes, values and opsets, and of its initializers' names, types and shapes.

    Constants count with their values: those that are nodes, single numbers, and initializers of whole numbers, such as
    the shape of a Reshape.
    """
    digest = hashlib.sha256()
    graph = model.graph
    kept = [tensor for tensor in graph.initializer if not _is_weight(tensor)]
    parts: tuple[Any, ...] = (
        *(model.opset_import, model.functions),
        *(graph.node, graph.input, graph.output, graph.sparse_initializer, kept),
    )
    for part in parts:
        for message in part:
            content = message.SerializeToString(deterministic=True)
            digest.update(len(content).to_bytes(8, "little") + content)
        digest.update(b"|")
    for tensor in graph.initializer:
        digest.update(repr((tensor.name, tuple(tensor.dims), tensor.data_type)).encode())
    return digest.hexdigest()


def _is_weight(tensor: "onnx.TensorProto") -> bool:
    return tensor.data_type in _FLOATS and math.prod(tensor.dims) > 1
