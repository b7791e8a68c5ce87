"""The graph of an ONNX model: its hash, and the way from a value back through the nodes that it is computed by."""

import hashlib
import math
from collections.abc import Container, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kdbench.modelfile.formats.external_data import is_external
from kdbench.modelfile.graphs.weights import STANDARD, constant_of, subgraphs

if TYPE_CHECKING:
    import onnx

    Producers = Mapping[str, "onnx.NodeProto"]
    Constants = Mapping[str, "onnx.TensorProto"]

# Operators that keep the order of the values, so that the node before them decides the form of the output.
PASSING = {"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "DequantizeLinear", "Clip"}
_PASSING_ROUNDED = {*PASSING, "QuantizeLinear"}
LOOKUPS = {"ArrayFeatureExtractor", "Gather"}  # of the second input's places in the first one
OF_SHAPES = {"Shape", "Size"}  # read no values; exporters write them where a module asks for the size of its batch
# The position of the output's scale among the inputs; its zero point follows.
OUTPUT_SCALE = {
    "QuantizeLinear": 1,
    "QGemm": 7,
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearMul"), 6),
    **dict.fromkeys(("QLinearSoftmax", "QLinearSigmoid", "QLinearAveragePool", "QLinearGlobalAveragePool"), 3),
}

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


def opset(model: "onnx.ModelProto") -> int:
    """Return the version of ONNX's own operators that a model uses."""
    return max((entry.version for entry in model.opset_import if entry.domain in STANDARD), default=1)


def node_behind(
    name: str, producers: "Producers", constants: "Constants"
) -> "tuple[onnx.NodeProto | None, tuple[float, int] | None, bool]":
    """Return the node that computes an output, before those that only pass it on, and the scale of its integers.

    The last value states whether the output was rounded to integers on its way, even if it is returned as floats.
    """
    quantization: tuple[float, int] | None = None
    dequantized = rounded = False
    for node in passed_through(name, producers, _PASSING_ROUNDED):
        position = OUTPUT_SCALE.get(node.op_type)
        rounded = rounded or position is not None
        if position is not None and quantization is None and not dequantized:
            quantization = scale_of(node, position, constants)
        if node.op_type not in _PASSING_ROUNDED:
            return node, quantization, rounded
        dequantized = dequantized or node.op_type == "DequantizeLinear"
    return None, quantization, rounded


def passed_through(name: str, producers: "Producers", passing: Container[str]) -> "Iterator[onnx.NodeProto]":
    """Yield the node that computes a value, and on through those that pass their first input on, each once.

    The nodes of a damaged graph may go round, or lack the input.
    """
    seen: set[str] = set()
    while (node := producers.get(name)) is not None and name not in seen:
        seen.add(name)
        yield node
        if node.op_type not in passing or not node.input:
            return
        name = node.input[0]


def selected_column(
    name: str, node: "onnx.NodeProto", producers: "Producers", constants: "Constants"
) -> "tuple[onnx.NodeProto | None, int | None, bool]":
    """Return the node out of whose values `node` takes the one, `name`, a sample, and its place, negative from the end.

    None for what is unknown. The last value states whether those values were rounded to integers.
    """
    from onnx import numpy_helper

    if node.op_type not in {"Gather", "Slice", "Split"} or not node.input:
        return None, None, False
    places = list(attribute_of(node, "starts", ()))  # of Slice before opset 10
    if node.op_type == "Split":
        places = [place for place, part in enumerate(node.output) if leads_to(name, part, producers)]
    elif len(node.input) > 1 and node.input[1] in constants and not is_external(constants[node.input[1]]):
        places = numpy_helper.to_array(constants[node.input[1]]).reshape(-1).tolist()
    source, _, rounded = node_behind(node.input[0], producers, constants)
    return source, int(places[-1]) if places else None, rounded


def scale_of(node: "onnx.NodeProto", position: int, constants: "Constants") -> tuple[float, int] | None:
    """Return the stored scale and zero point that are inputs of `node` from `position` on; None for several."""
    from onnx import numpy_helper

    names = [*node.input[position : position + 2], "", ""][:2]
    if names[0] not in constants or (names[1] and names[1] not in constants):
        return None
    tensors = [constants[name] for name in names if name]
    if any(math.prod(tensor.dims) != 1 or is_external(tensor) for tensor in tensors):
        return None
    scale, zero_point = (*map(numpy_helper.to_array, tensors), None)[:2]
    return float(scale.reshape(-1)[0]), 0 if zero_point is None else int(zero_point.reshape(-1)[0])


def values_behind(model: "onnx.ModelProto", name: str) -> set[str]:
    """Return the names of all values that the value `name` is computed from, itself included."""
    producers = {output: node for node in model.graph.node for output in node.output}
    seen: set[str] = set()
    pending = [name]
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            node = producers.get(name)
            pending += [] if node is None else values_read(node)
    return seen


def values_read(node: "onnx.NodeProto") -> list[str]:
    """Return the values that a node reads, those in its branches and bodies included."""
    inner = (other for graph in subgraphs(node) for other in graph.node)
    return [*node.input, *(name for other in inner for name in values_read(other))]


def constants_of(model: "onnx.ModelProto") -> "dict[str, onnx.TensorProto]":
    """Return the stored tensors of a graph, initializers and constants, by the names of their values."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if (tensor := constant_of(node)) is not None:
            constants[node.output[0]] = tensor
    return constants


def leads_to(name: str, end: str, producers: "Producers") -> bool:
    """Return whether the value `name` is `end`, passed on."""
    passing = (node for node in passed_through(name, producers, PASSING) if node.op_type in PASSING)
    return name == end or any(end in node.input[:1] for node in passing)


def attribute_of(node: "onnx.NodeProto", name: str, default: Any) -> Any:
    """Return the value of an attribute of `node`; `default` if it has none."""
    from onnx import helper

    return next((helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), default)
