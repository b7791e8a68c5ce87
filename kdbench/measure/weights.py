"""The weights of an ONNX graph: how many numbers, how many bytes, and where they lie."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import onnx

# Operands that are stored as tensors but were never trained: running statistics, scales and zero points, shapes.
_NOT_TRAINED: dict[str, tuple[int, ...]] = {
    "BatchNormalization": (3, 4),
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
}

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

    Raises InputError if a file of external data is missing or shorter than its tensors.
    """
    untrained = {
        node.input[position]
        for node in model.graph.node
        for position in _NOT_TRAINED.get(node.op_type, ())
        if position < len(node.input)
    }
    tensors = list(tensors_of(model))
    return Weights(
        parameters=sum(math.prod(t.dims) for name, t in tensors if name not in untrained and _may_be_trained(t)),
        weight_bytes=sum(_bytes(t) for _, t in tensors),
        external_bytes=sum(_file_bytes(path, location, least) for location, least in _external(tensors, path).items()),
    )


def tensors_of(model: "onnx.ModelProto") -> "Iterator[tuple[str, onnx.TensorProto]]":
    """Yield the stored tensors of `model` by the name the graph knows them under: initialisers and constants."""
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
