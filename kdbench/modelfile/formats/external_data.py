"""The files of external data that hold the large weights of an ONNX file, and a check that it names no other files.

ONNX keeps a tensor's file, offset and length as text (onnx.proto, `TensorProto.external_data`); the file's path is
relative to the model's folder. A model from elsewhere may name any path, so the path must stay within that folder.
"""

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from kdbench.errors import InputError
from kdbench.files import storage

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx

# Packed element types of less than a byte.
SUB_BYTE_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}

_COPY_AGAIN = "copy the model and its data again, or export it again"
_SAVE_AGAIN = "save the model again with its data next to it (onnx.save, save_as_external_data=True)"
_SHORT = 1024  # elements of a tensor that may be scales or a shape rather than weights
_DIGITS = 19  # of an offset
_SHOWN = 200  # characters of a path


def external_files(tensors: "Iterable[onnx.TensorProto]", path: Path) -> list[Path]:
    """Return the files that hold external data of the model at `path`, sorted.

    Raises InputError for a path outside the model's folder, and for what is no file or ends before its tensors do.
    """
    needed: dict[str, int] = {}
    for tensor in tensors:
        stored = {entry.key: entry.value for entry in tensor.external_data}
        if "location" in stored:
            location, offset, length = (stored.get(key, "") for key in ("location", "offset", "length"))
            location = str(PurePath(location)) if location else ""  # "./x" is the same file as "x"
            end = _number(offset, tensor, path) + (_number(length, tensor, path) if length else tensor_bytes(tensor))
            needed[location] = max(needed.get(location, 0), end)
    return [_checked(location, end, path) for location, end in sorted(needed.items())]


def files_sha256(files: Sequence[Path]) -> str:
    """Return the SHA-256 of a model's file; with files of external data after it, that of the list of all hashes."""
    first, *others = map(storage.sha256, files)
    return storage.content_hash([first, *others]) if others else first


def read_small(tensors: "Iterable[onnx.TensorProto]", path: Path) -> None:
    """Read the short external tensors of the model at `path`, such as scales and shapes, into the model.

    They say what the graph computes. Their place in the file stays noted. What cannot be read stays external.
    """
    for tensor in tensors:
        if is_external(tensor) and math.prod(tensor.dims) <= _SHORT:
            with contextlib.suppress(InputError, OSError, ValueError):  # reported when the weights are counted
                _read(tensor, path)


def read_external(tensors: "Iterable[onnx.TensorProto]", path: Path) -> None:
    """Read the external tensors of the model at `path` into the model, which then needs no other file.

    onnx.load refuses files that are links, as those in a cache of downloads are. Raises InputError as `external_files`.
    """
    for tensor in tensors:
        if is_external(tensor):
            _read(tensor, path)
        del tensor.external_data[:]


def _read(tensor: "onnx.TensorProto", path: Path) -> None:
    (file,) = external_files([tensor], path)
    stored = {entry.key: entry.value for entry in tensor.external_data}
    with file.open("rb") as stream:
        stream.seek(_number(stored.get("offset", ""), tensor, path))
        tensor.raw_data = stream.read(tensor_bytes(tensor))
    tensor.ClearField("data_location")


def is_external(tensor: "onnx.TensorProto") -> bool:
    """Return whether the content of a tensor is in another file only."""
    return bool(tensor.data_location == type(tensor).EXTERNAL)


def tensor_bytes(tensor: "onnx.TensorProto") -> int:
    """Return the bytes that a tensor's type and shape need; raises InputError for a type that onnx does not know."""
    import onnx

    elements: int = math.prod(tensor.dims)
    try:
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        itemsize = int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except (KeyError, ValueError):
        message = f"onnx {onnx.__version__} does not know the element type of {tensor.name!r} ({tensor.data_type})"
        raise InputError(message, "export the model again, or install a newer onnx") from None
    bits = SUB_BYTE_BITS.get(kind, 8 * itemsize)
    return (elements * bits + 7) // 8


def _number(text: str, tensor: "onnx.TensorProto", path: Path) -> int:
    """Return an offset or a length in bytes; 0 where it is not given."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise InputError(f"{path}: offset or length of {tensor.name!r} is not a number of bytes", _COPY_AGAIN)
    return int(text)


def _checked(location: str, least_bytes: int, path: Path) -> Path:
    named = PurePath(location)
    if not location or named.is_absolute() or ".." in named.parts or "\0" in location:
        raise InputError(f"{path} keeps weights in {location[:_SHOWN]!r}, which is not in its own folder", _SAVE_AGAIN)
    file = path.parent / named
    message = f"{path} keeps weights in {str(file)[:_SHOWN]}, which is"
    try:
        if not file.is_file():
            raise InputError(f"{message} {'no file' if file.exists() else 'missing'}", "put it next to the model")
        size = file.stat().st_size
    except OSError as error:
        raise InputError(f"{message} not readable: {error.strerror}", "put it next to the model") from error
    if size < least_bytes:
        raise InputError(f"{message} cut short: {size} of at least {least_bytes} bytes", _COPY_AGAIN)
    return file
