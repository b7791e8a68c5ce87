"""The weights of an ONNX graph: how many numbers, how many bytes, and where they lie."""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import onnx

# Operands that are stored as tensors but were never trained: running statistics, scales, zero points, shapes, limits.
_NOT_TRAINED: dict[str, tuple[int, ...]] = {
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

# Element types of less than a byte, packed.
_NARROW_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}

_AGAIN = "copy the model and its data again, or export it again"


@dataclass(frozen=True)
class Weights:
    """`parameters` counts trained numbers, `weight_bytes` the bytes of all stored tensors wherever they lie.

    `external_bytes` is the size of the files beside the model that hold some of them.
    """

    parameters: int
    weight_bytes: int
    external_bytes: int


def weights_of(model: "onnx.ModelProto", path: Path) -> Weights:
    """Count the weights of `model`, read from `path`.

    Raises InputError if a tensor's content does not fit its type and shape, or if a file of external data is missing
    or shorter than its tensors.
    """
    untrained = {
        node.input[position]
        for node in _nodes(model)
        for position in _NOT_TRAINED.get(node.op_type, ())
        if position < len(node.input)
    }
    tensors = list(tensors_of(model))
    for name, tensor in tensors:
        held, needed = len(tensor.raw_data), _bytes(tensor)
        if tensor.HasField("raw_data") and held != needed:
            raise InputError(f"{path}: {name!r} holds {held} bytes, and its shape needs {needed}", _AGAIN)
    return Weights(
        parameters=sum(math.prod(t.dims) for name, t in tensors if name not in untrained and _may_be_trained(t)),
        weight_bytes=sum(_bytes(t) for _, t in tensors),
        external_bytes=sum(_file_bytes(path, location, least) for location, least in _external(tensors, path).items()),
    )


def tensors_of(model: "onnx.ModelProto") -> "Iterator[tuple[str, onnx.TensorProto]]":
    """Yield the stored tensors of `model` by the name the graph knows them under: initialisers and constants.

    Those of branches, loops and local functions are among them; of a sparse tensor, its values and their indices.
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
    """Yield the graphs that a node holds: the branches of If, the bodies of Loop and Scan."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _nodes(model: "onnx.ModelProto") -> "Iterator[onnx.NodeProto]":
    """Yield the nodes of `model`, of its local functions, and of all graphs that these hold."""
    left = [*model.graph.node, *itertools.chain.from_iterable(function.node for function in model.functions)]
    while left:
        node = left.pop()
        left += [inner for graph in subgraphs(node) for inner in graph.node]
        yield node


def _parts(sparse: "onnx.SparseTensorProto", name: str) -> "Iterator[tuple[str, onnx.TensorProto]]":
    yield name, sparse.values
    yield f"{name}/indices", sparse.indices


def _may_be_trained(tensor: "onnx.TensorProto") -> bool:
    # Integers of 64 bits are shapes, axes and indices; narrower ones are quantized weights (biases take 32 bits).
    import onnx

    return tensor.data_type not in {onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.STRING}


def _bytes(tensor: "onnx.TensorProto") -> int:
    import onnx

    elements: int = math.prod(tensor.dims)
    try:
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        itemsize = int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except (KeyError, ValueError):
        what = f"{tensor.name!r} is of an element type ({tensor.data_type}) that onnx {onnx.__version__} does not know"
        raise InputError(what, "export the model again, or install a newer onnx") from None
    bits = _NARROW_BITS.get(kind, 8 * itemsize)
    return (elements * bits + 7) // 8


def _external(tensors: "Iterable[tuple[str, onnx.TensorProto]]", path: Path) -> dict[str, int]:
    """Return, of each file beside the model, how many bytes of it the tensors need."""
    needed: dict[str, int] = {}
    for _, tensor in tensors:
        stored = {entry.key: entry.value for entry in tensor.external_data}
        if location := stored.get("location"):
            needed[location] = max(needed.get(location, 0), _end(tensor, stored, path))
    return needed


def _end(tensor: "onnx.TensorProto", stored: "Mapping[str, str]", path: Path) -> int:
    """Return where in its file of external data the tensor ends, in bytes."""
    try:
        offset, length = int(stored.get("offset", 0)), int(stored.get("length", _bytes(tensor)))
    except ValueError:
        raise InputError(f"{path}: the place of {tensor.name!r} in its file is not a number", _AGAIN) from None
    return offset + length


def _file_bytes(path: Path, location: str, least: int) -> int:
    external = path.parent / location
    try:
        size = external.stat().st_size
    except OSError:
        raise InputError(f"{path} keeps weights in {external}, which is missing", "put it beside the model") from None
    if size < least:
        raise InputError(
            f"{path} keeps weights in {external}, which is cut short: {size} of at least {least} bytes", _AGAIN
        )
    return size
