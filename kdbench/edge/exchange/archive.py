"""Archives of bundles and results: zip files that hold their members as they are, with a list of their SHA-256.

The same members always make the same bytes: no compression, no dates, no permissions, names in order. A reader can
therefore make the archive again and compare it byte by byte, which finds whatever was changed anywhere in it. The
format is PKWARE's APPNOTE 6.3.10, without zip64; any tool unpacks it. Standard library only.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Union

from kdbench.errors import InputError

SUMS = "SHA256SUMS"
_BLOCK = 1 << 20
_LARGEST = (1 << 32) - (1 << 24)  # bytes of an archive without zip64
_MAX_MEMBERS = (1 << 16) - 2
_VERSION, _UTF8, _STORED, _DATE = 20, 1 << 11, 0, 0x21  # 1 January 1980, the first date that zip can represent
_REGULAR_FILE = 0o100644 << 16

Content = Union[bytes, Path]


def sums_of(members: Mapping[str, Content]) -> bytes:
    """Return the list of the members' SHA-256, as `sha256sum --check` reads it."""
    return "".join(f"{sha256(content)}  {name}\n" for name, content in sorted(members.items())).encode()


def sha256(content: Content) -> str:
    """Return the SHA-256 of bytes or of a file, in hexadecimal."""
    digest = hashlib.sha256()
    for block in _blocks(content):
        digest.update(block)
    return digest.hexdigest()


def write_archive(stream: IO[bytes], members: Mapping[str, Content]) -> None:
    """Write `members` and the list of their hashes, which comes first; raises InputError where they are too large."""
    ordered: list[tuple[str, Content]] = [(SUMS, sums_of(members)), *sorted(members.items())]
    size = sum(_size(content) for _, content in ordered)
    if size > _LARGEST or len(ordered) > _MAX_MEMBERS:
        hint = "bundle fewer models with --model, or smaller ones"
        raise InputError(f"{len(ordered)} files of {size / 1e9:.1f} GB do not fit into one archive", hint)
    directory = []
    offset = 0
    for name, content in ordered:
        encoded, length, crc = name.encode(), _size(content), _crc(content)
        common = struct.pack("<5H3L2H", _VERSION, _UTF8, _STORED, 0, _DATE, crc, length, length, len(encoded), 0)
        stream.write(b"PK\x03\x04" + common + encoded)
        for block in _blocks(content):
            stream.write(block)
        made_by = struct.pack("<H", 3 << 8 | _VERSION)  # Unix
        place = struct.pack("<3H2L", 0, 0, 0, _REGULAR_FILE, offset)
        directory.append(b"PK\x01\x02" + made_by + common + place + encoded)
        offset += 30 + len(encoded) + length
    listed = b"".join(directory)
    stream.write(listed)
    count = len(ordered)
    stream.write(b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, count, count, len(listed), offset, 0))


def _blocks(content: Content) -> Iterable[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as stream:
        while block := stream.read(_BLOCK):
            yield block


def _size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _crc(content: Content) -> int:
    crc = 0
    for block in _blocks(content):
        crc = zlib.crc32(block, crc)
    return crc
