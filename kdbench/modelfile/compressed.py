"""How small a model file becomes where it is stored or sent compressed."""

import zlib
from pathlib import Path

from kdbench.modelfile.external_data import external_files
from kdbench.modelfile.facts import read_model
from kdbench.modelfile.weights import tensors_of

_CHUNK = 1 << 20


def compressed_bytes(path: Path) -> int:
    """Return the bytes of a model file and its external data, each after DEFLATE (zlib, level 6), as gzip and zip do.

    Raises InputError for a file that is no model.
    """
    files = (path, *external_files((tensor for _, tensor in tensors_of(read_model(path))), path))
    return sum(map(_deflated, files))


def _deflated(path: Path) -> int:
    compressor, size = zlib.compressobj(6), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            size += len(compressor.compress(chunk))
    return size + len(compressor.flush())
