"""Reading a model file; its files, with external data, and their size when compressed."""

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.errors import InputError
from kdbench.files.nearby import expected_at
from kdbench.modelfile.formats.external_data import external_files, read_small
from kdbench.modelfile.formats.kinds import foreign, unreadable
from kdbench.modelfile.formats.ort_format import is_ort, read_ort
from kdbench.modelfile.graphs.operands import require_operands
from kdbench.modelfile.graphs.weights import tensors_of

if TYPE_CHECKING:
    import onnx

MAX_FILE_BYTES = (1 << 31) - 1  # protobuf's limit for one message
_SUFFIXES = {".onnx", ".ort", ".pt2"}
_CHUNK = 1 << 20


def require_model_file(path: Path) -> None:
    """Raise InputError where no model file is at `path`; the hint names the file that was most likely meant."""
    if not path.exists():
        hint = expected_at(path, "name an .onnx, .ort or .pt2 file", lambda other: other.suffix.lower() in _SUFFIXES)
        raise InputError(f"no model file at {path}", hint)


def read_model(path: Path) -> "onnx.ModelProto":
    """Read an ONNX or .ort file without long external tensors; raises InputError, with what it is, for another file."""
    require_model_file(path)
    if not path.is_file() and not path.is_dir():
        raise InputError(f"{path} is a device or a pipe, not a file", "give the path of an .onnx file")
    try:
        if (kind := foreign(path)) is not None:
            raise InputError(f"{path} is {kind[0]}, not an ONNX model", kind[1])
        model = read_ort(path) if is_ort(path) else _read_onnx(path)
        if model is None or not model.graph.node or not model.graph.output:
            if (kind := unreadable(path)) is not None:
                raise InputError(f"{path} is {kind[0]}, not an ONNX model", kind[1])
            what = "is not a readable ONNX model" if model is None else "holds no ONNX graph"
            raise InputError(f"{path} {what}", "give an .onnx file; this one may be truncated: copy it again")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "check its permissions") from error
    require_operands(model, path)
    read_small((tensor for _, tensor in tensors_of(model)), path)
    return model


def _read_onnx(path: Path) -> "onnx.ModelProto | None":
    """Read an ONNX file; None if it is not one."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # installed with onnx, without stubs

    if path.stat().st_size > MAX_FILE_BYTES:  # before gigabytes are read
        hint = "save its weights in a separate file next to it (save_as_external_data)"
        raise InputError(f"{path} is larger than an ONNX file can be, which is 2 GiB", hint)
    try:
        return onnx.load(path, format="protobuf", load_external_data=False)
    except DecodeError:
        return None


def model_files(path: Path) -> list[Path]:
    """Return the file of a model and those of its external data; raises InputError for a file that is no model."""
    return [path, *external_files((tensor for _, tensor in tensors_of(read_model(path))), path)]


def compressed_bytes(path: Path) -> int:
    """Return the bytes of a model file and its external data, each after DEFLATE (zlib, level 6), as gzip and zip do.

    Raises InputError for a file that is no model.
    """
    return sum(map(_deflated, model_files(path)))


def _deflated(path: Path) -> int:
    compressor, size = zlib.compressobj(6), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            size += len(compressor.compress(chunk))
    return size + len(compressor.flush())
