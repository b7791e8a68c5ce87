"""Things in a file's place that are no such file: pipes, devices, links, folders, files of any size."""

import gzip
import io
import os
import random
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

_SPARSE_BYTES = 3 << 30
_DEEP = 200_000


def put(path: Path, dice: random.Random) -> str:
    """Put one of the things in the place of the file or of nothing at `path`; return which."""
    name = dice.choice([*KINDS])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    KINDS[name](path)
    return f"is a {name}"


def _socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # the path of a socket has 107 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name[:100])
    finally:
        os.chdir(before)


def _sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(_SPARSE_BYTES)


def _unreadable(path: Path) -> None:
    path.symlink_to("/proc/self/mem")  # reading fails, also as root


def _image(path: Path) -> None:
    """Write a valid PNG of 40,000 by 40,000 black pixels, in some kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    side = 40_000
    packer, rows = zlib.compressobj(9), bytes(side // 8 + 1) * 100
    body = b"".join(packer.compress(rows) for _ in range(side // 100)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def _gzip(path: Path) -> None:
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=9) as packed:
        for _ in range(64):
            packed.write(bytes(1 << 22))
    path.write_bytes(stream.getvalue())


KINDS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "socket": _socket,
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to its folder": lambda path: path.symlink_to("."),
    "link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "link to /dev/full": lambda path: path.symlink_to("/dev/full"),
    "link to /dev/null": lambda path: path.symlink_to("/dev/null"),
    "link to memory": _unreadable,
    "file of 3 GiB of nothing": _sparse,
    "line of 8 MiB": lambda path: path.write_bytes(b"[" * (8 << 20)),
    "nested table": lambda path: path.write_text('{"a":' * _DEEP + "1" + "}" * _DEEP),
    "nested key": lambda path: path.write_text("a." * _DEEP + "b = 1"),
    "huge image": _image,
    "packed 256 MiB": _gzip,
}
