"""The weights of an ONNX graph: how many parameters and bytes, in which files."""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import onnx

# Operands that are stored as tensors but are not trained: running statistics, scales, zero points, shapes, limits.
_UNTRAINED: dict[str, tuple[int, ...]] = {
    "BatchNormalization": (3, 4),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Clip": (1, 2),
    "Pad": (2,),
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
    "DynamicQuantizeMatMul": (2, 3),
    "MatMulIntegerToFloat": (2, 3, 4, 5),
    "QGemm": (1, 2, 4, 5, 7, 8),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearMul"), (1, 2, 4, 5, 6, 7)),
    **dict.fromkeys(("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax"), (1, 2, 3, 4)),
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool"), (1, 2, 3, 4)),
}

# Packed element types of less than a byte.
_SUB_BYTE_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}

_COPY_AGAIN = "copy the model and its data again, or export it again"


@dataclass(frozen=True)
class Weights:
    """`parameters` counts trained numbers, `weight_bytes` the bytes of all stored tensors in all files.

    `external_bytes` is the size of the files of external data.
    """

    parameters: int
    weight_bytes: int
    external_bytes: int


def weights_of(model: "onnx.ModelProto", path: Path) -> Weights:
    """Count the weights of `model`, read from `path`.

    Raises InputError if a tensor's content does not fit its type and shape, or if a file of external data is missing or
    shorter than its tensors.
    """
    untrained = {
        node.input[position]
        for node in _nodes(model)
        for position in _UNTRAINED.get(node.op_type, ())
        if position < len(node.input)
    }
    tensors = list(tensors_of(model))
    for name, tensor in tensors:
        stored, needed = len(tensor.raw_data), _bytes(tensor)
        if tensor.HasField("raw_data") and stored != needed:
            raise InputError(f"{path}: {name!r} holds {stored} bytes, and its shape needs {needed}", _COPY_AGAIN)
    return Weights(
        parameters=sum(math.prod(t.dims) for name, t in tensors if name not in untrained and _may_be_trained(t)),
        weight_bytes=sum(_bytes(t) for _, t in tensors),
        external_bytes=sum(
            _file_bytes(path, location, minimum) for location, minimum in _external(tensors, path).items()
        ),
    )


def tensors_of(model: "onnx.ModelProto") -> "Iterator[tuple[str, onnx.TensorProto]]":
    """Yield the stored tensors of `model` with their names in the graph: initialisers and constants.

    It includes those of branches, loops and local functions; of a sparse tensor, the values and the indices.
    """
    nodes = list(_nodes(model))
    for graph in (model.graph, *itertools.chain.from_iterable(map(subgraphs, nodes))):
        for tensor in graph.initializer:
            yield tensor.name, tensor
        for sparse in graph.sparse_initializer:
            yield from _parts(sparse, sparse.values.name)
    for node in nodes:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t
                elif attribute.name == "sparse_value":
                    yield from _parts(attribute.sparse_tensor, node.output[0])


def subgraphs(node: "onnx.NodeProto") -> "Iterator[onnx.GraphProto]":
    """Yield the subgraphs of a node: the branches of If, the bodies of Loop and Scan."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _nodes(model: "onnx.ModelProto") -> "Iterator[onnx.NodeProto]":
    """Yield the nodes of `model`, of its local functions, and of all their subgraphs."""
    pending = [*model.graph.node, *itertools.chain.from_iterable(function.node for function in model.functions)]
    while pending:
        node = pending.pop()
        pending += [inner for graph in subgraphs(node) for inner in graph.node]
        yield node


def _parts(sparse: "onnx.SparseTensorProto", name: str) -> "Iterator[tuple[str, onnx.TensorProto]]":
    yield name, sparse.values
    yield f"{name}/indices", sparse.indices


def _may_be_trained(tensor: "onnx.TensorProto") -> bool:
    # 64-bit integers are shapes, axes and indices; narrower ones are quantized weights (biases have 32 bits).
    import onnx

    return tensor.data_type not in {onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.STRING}


def _bytes(tensor: "onnx.TensorProto") -> int:
    import onnx

    elements: int = math.prod(tensor.dims)
    try:
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        itemsize = int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except (KeyError, ValueError):
        message = f"onnx {onnx.__version__} does not know the element type of {tensor.name!r} ({tensor.data_type})"
        raise InputError(message, "export the model again, or install a newer onnx") from None
    bits = _SUB_BYTE_BITS.get(kind, 8 * itemsize)
    return (elements * bits + 7) // 8


def _external(tensors: "Iterable[tuple[str, onnx.TensorProto]]", path: Path) -> dict[str, int]:
    """Return the bytes that the tensors need of each file of external data."""
    needed: dict[str, int] = {}
    for _, tensor in tensors:
        stored = {entry.key: entry.value for entry in tensor.external_data}
        if location := stored.get("location"):
            needed[location] = max(needed.get(location, 0), _end(tensor, stored, path))
    return needed


def _end(tensor: "onnx.TensorProto", stored: "Mapping[str, str]", path: Path) -> int:
    """Return the end of the tensor in its file of external data, in bytes."""
    try:
        offset, length = int(stored.get("offset", 0)), int(stored.get("length", _bytes(tensor)))
    except ValueError:
        raise InputError(f"{path}: offset or length of {tensor.name!r} is not a number", _COPY_AGAIN) from None
    return offset + length


def _file_bytes(path: Path, location: str, minimum: int) -> int:
    external = path.parent / location
    try:
        size = external.stat().st_size
    except OSError:
        raise InputError(f"{path} keeps weights in {external}, which is missing", "put it beside the model") from None
    if size < minimum:
        raise InputError(
            f"{path} keeps weights in {external}, which is cut short: {size} of at least {minimum} bytes", _COPY_AGAIN
        )
    return size
