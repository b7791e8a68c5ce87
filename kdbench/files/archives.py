"""Archives and arrays as untrusted input: the errors that damaged ones raise, and the size that a zip file declares."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from kdbench.errors import InputError

_SMALL_BYTES = 1 << 30
_MAX_COMPRESSION = 20


def archive_errors() -> tuple[type[Exception], ...]:
    """Return the errors that zipfile and the decompressors raise for truncated, damaged or encrypted archives."""
    import lzma
    import struct
    import zlib
    from zipfile import BadZipFile

    of_content = (BadZipFile, zlib.error, lzma.LZMAError, struct.error)
    return (*of_content, OSError, EOFError, ValueError, LookupError, RuntimeError, MemoryError)


def array_errors() -> tuple[type[Exception], ...]:
    """Return the errors that numpy raises for truncated, damaged or pickled arrays, alone or in archives."""
    from tokenize import TokenError  # numpy reads the headers of old arrays with Python's own tokenizer

    return (*archive_errors(), SyntaxError, TokenError, TypeError)


def require_unpackable(path: Path, members: Container[str] | None = None) -> int:
    """Return the unpacked size in bytes that the `members` (None: all) of a zip archive declare.

    Raises InputError if that is far more than the file's size allows; zipfile.BadZipFile and OSError. Sizes below 1 GiB
    are always admitted, because zeros compress a thousandfold.
    """
    import zipfile

    with zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if members is None or info.filename in members]
    declared, packed = sum(info.file_size for info in infos), path.stat().st_size
    if declared > max(_SMALL_BYTES, _MAX_COMPRESSION * packed):
        message = f"{path} declares {declared:,} bytes of content in {packed:,} bytes"
        raise InputError(message, "the file may be malicious; if it is not, store it without compression")
    return declared
