"""The weights of an ONNX graph: how many numbers, how many bytes, and where they lie."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

# Operands that are stored as tensors but were never trained: running statistics, scales and zero points, shapes.
_NOT_TRAINED: dict[str, tuple[int, ...]] = {
    "BatchNormalization": (3, 4),
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
}


@dataclass(frozen=True)
class Weights:
    """`parameters` counts trained numbers, `weight_bytes` the bytes of all stored tensors wherever they lie.

    `external_bytes` is the size of the files beside the model that hold some of them.
    """

    parameters: int
    weight_bytes: int
    external_bytes: int


def weights_of(model: "onnx.ModelProto", path: Path) -> Weights:
    """Count the weights of `model`, read from `path`; raises InputError if a file of external data is missing."""
    untrained = {
        node.input[position]
        for node in model.graph.node
        for position in _NOT_TRAINED.get(node.op_type, ())
        if position < len(node.input)
    }
    tensors = list(_tensors(model))
    return Weights(
        parameters=sum(math.prod(t.dims) for name, t in tensors if name not in untrained and _may_be_trained(t)),
        weight_bytes=sum(_bytes(t) for _, t in tensors),
        external_bytes=sum(_file_bytes(path, location) for location in {_location(t) for _, t in tensors} - {None}),
    )


def _tensors(model: "onnx.ModelProto") -> "Iterator[tuple[str, onnx.TensorProto]]":
    """Yield the stored tensors by the name the graph knows them under: initialisers and constants."""
    for tensor in model.graph.initializer:
        yield tensor.name, tensor
    for node in model.graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t


def _may_be_trained(tensor: "onnx.TensorProto") -> bool:
    # Integers of 64 bits are shapes, axes and indices; narrower ones are quantized weights (biases take 32 bits).
    import onnx

    return tensor.data_type not in {onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.STRING}


def _bytes(tensor: "onnx.TensorProto") -> int:
    import onnx

    narrow = {onnx.TensorProto.INT4, onnx.TensorProto.UINT4}
    elements: int = math.prod(tensor.dims)
    if tensor.data_type in narrow:
        return (elements + 1) // 2
    return elements * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _location(tensor: "onnx.TensorProto") -> str | None:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), None)


def _file_bytes(path: Path, location: str | None) -> int:
    assert location is not None
    external = path.parent / location
    try:
        return external.stat().st_size
    except OSError:
        raise InputError(f"{path} keeps weights in {external}, which is missing", "put it beside the model") from None
