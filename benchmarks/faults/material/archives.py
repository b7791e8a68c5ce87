"""Damage to archives by their members: other names, sizes and kinds, twice or without end."""

import io
import json
import random
import stat
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

from benchmarks.faults.material import mutations

_NAMES = (
    "../../evil",
    "/tmp/kdbench-evil",
    "a\x00b",
    "x" * 60_000,
    "..\\evil",
    "C:evil",
    "",
    ".",
    "\u202e",
    "a/" * 5000,
)
_BLOCK_BYTES, _BLOCKS = 1 << 22, 750  # of a bomb: 3.1 GB, which a size of 32 bits can still say
_LOCAL, _CENTRAL = b"PK\x03\x04", b"PK\x01\x02"
Members = dict[str, bytes]


def damage(file: Path, dice: random.Random, how: str | None = None) -> str:
    """Change the archive at `file` in one of the `WAYS`; return how."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    how = how or dice.choice(WAYS)
    name = dice.choice([*members])
    if how in _OF_MEMBERS:
        _OF_MEMBERS[how](members, name, dice)
        file.write_bytes(packed(members))
    elif how == "bomb":
        file.write_bytes(with_bomb(members, name))
    else:
        stream = io.BytesIO(packed(members))
        with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a member twice
            _add(archive, how, name)
        content = bytearray(stream.getvalue())
        if how == "other size" and (central := content.find(_CENTRAL)) >= 0:
            content[central + 20 : central + 28] = dice.choice((b"\xff" * 8, b"\0" * 8, b"\0\0\0\x7f\0\0\0\x7f"))
        file.write_bytes(content)
    return f"{how} {name}"


def with_bomb(members: Members, name: str) -> bytes:
    """Return the archive of the members, of which `name` is 3 MB that unpack to 3.1 GB: an array, or a list in JSON."""
    size = _BLOCK_BYTES * _BLOCKS
    array = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size},), }}".ljust(117) + "\n"
    is_array = name.endswith(".npy")
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(array)) + array.encode() if is_array else b"["
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    first = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress((b"\0" if is_array else b" ") * _BLOCK_BYTES) + packer.flush(zlib.Z_FULL_FLUSH)
    stored = first + again * _BLOCKS + packer.flush()  # blocks that refer to nothing before them may be repeated
    others = {key: value for key, value in members.items() if key != name}
    content = bytearray(packed({**others, name: stored}, plain=name))
    for mark, at_method, at_size in ((_LOCAL, 8, 22), (_CENTRAL, 10, 24)):
        start = content.rfind(mark)
        content[start + at_method : start + at_method + 2] = struct.pack("<H", zipfile.ZIP_DEFLATED)
        content[start + at_size : start + at_size + 4] = struct.pack("<I", len(head) + size)
    return bytes(content)


def packed(members: Members, plain: str | None = None) -> bytes:
    """Return an archive of the members, compressed but for the one that is `plain`."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            kind = zipfile.ZIP_STORED if name == plain else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name), content, kind)
    return stream.getvalue()


def _add(archive: zipfile.ZipFile, how: str, name: str) -> None:
    if how == "link":
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    elif how == "twice":
        archive.writestr(zipfile.ZipInfo(name), b"{}")
    elif how == "many":
        for number in range(20_000):
            archive.writestr(f"{number}.npy", b"")


def _rename(members: Members, name: str, dice: random.Random) -> None:
    members[dice.choice(_NAMES) + dice.choice(("", ".npy", ".json"))] = members.pop(name)


def _damage(members: Members, name: str, dice: random.Random) -> None:
    content = members[name]
    try:
        value = json.loads(content)
        members[name] = mutations.json_text(value, dice) if isinstance(value, dict | list) and value else b"[]"
    except ValueError:
        members[name] = mutations.damaged(content, dice)


def _remove(members: Members, name: str, _dice: random.Random) -> None:
    del members[name]


def _empty(members: Members, name: str, _dice: random.Random) -> None:
    members[name] = b""


_OF_MEMBERS = {"renamed": _rename, "damaged": _damage, "changed": _damage, "without": _remove, "emptied": _empty}
WAYS = (*_OF_MEMBERS, "bomb", "link", "twice", "many", "other size")
