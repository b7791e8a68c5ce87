"""Seeded damage to files: to bytes, to JSON, to the text of TOML, to safetensors and to archives of arrays."""

import copy
import io
import json
import random
import struct
import zipfile
from typing import Any

DEEP = "[" * 100_000 + "]" * 100_000
TOKENS = (
    "nan", "inf", "-inf", "1e400", "-1", "0", "0.0", "1e-320", "1" + "0" * 18, "9" * 25, "9" * 5000, "1e308",
    "-1e308", "true", '""', '"\\u0000"', '"a\\nb"', '"../../etc/passwd"', '"/dev/zero"', '"/proc/self/mem"', "[]",
    "{}", "[[]]", "[" * 500 + "]" * 500, "[nan]", '["a", 1]', "2020-01-01", "00:00:00", '"' + "x" * 3000 + '"',
    "\u00b3", "", "=", "#", "65536", "10000000", "'''", "0x7fffffffffffffff", '"student"',
)  # fmt: skip
"""What replaces a value in TOML or of an option."""
_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**30, 1e308, -1e308, 5e-324, "", "x" * 3000, "\ud800", "\u202e\x00\x1b[31m",
    [], {}, [[]], [None], {"": 1}, "nan", "../../x", "1e5",
)  # fmt: skip


def damaged(content: bytes, dice: random.Random) -> bytes:
    """Return content with some of its bytes changed, cut, repeated, inserted or in another place."""
    data = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 2, 8))):
        at, length = dice.randrange(len(data) + 1), dice.choice((1, 1, 2, 8, 64, 1024))
        match dice.randrange(7):
            case 0:
                del data[at:]
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = dice.randbytes(length)
            case 3:
                data[at : at + length] = bytes([dice.choice((0, 0x7F, 0x80, 0xFF))]) * length
            case 4:
                data[at:at] = data[at : at + length] * dice.choice((1, 2, 50))
            case 5 if data:
                data[at % len(data)] ^= 1 << dice.randrange(8)
            case _:
                data[:] = dice.choice(
                    (b"", b"\x00" * 64, b"\xff" * 64, b"\x80\x04K\x01.", b"PK\x03\x04", bytes(data[::-1]))
                )
    return bytes(data)


def json_text(value: Any, dice: random.Random) -> bytes:
    """Return the JSON of a value in which something is replaced, left out or repeated, or that is damaged as text."""
    text = json.dumps(value)
    if dice.random() < 0.25:
        return damaged(text.encode(), dice)
    changed = json.loads(text)
    for _ in range(dice.choice((1, 1, 2, 4))):
        _change(changed, dice)
    text = json.dumps(changed)
    numbers = {"NaN": "NaN", "1e999": "1e999", "digits": "9" * 5000, "deep": DEEP, "deep key": '{"a":' * 100_000 + "1"}
    if dice.random() < 0.2 and '"value": ' in text:
        text = text.replace('"value": ', f'"value": {dice.choice(list(numbers.values()))}, "value_": ', 1)
    return text.encode(*dice.choice((("utf-8",),) * 9 + (("utf-16",),)))


def _change(value: Any, dice: random.Random) -> None:
    """Walk to a random place of a JSON value and change what is there."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = dice.choice(keys)
        if isinstance(value[key], dict | list) and value[key] and dice.random() < 0.8:
            value = value[key]
            continue
        match dice.randrange(6):
            case 0:
                del value[key]
            case 1 if isinstance(value, list):
                value += [value[key]] * dice.choice((1, 100))
            case 2 if isinstance(value, dict):
                value[dice.choice(("", "x" * 3000, "\ud800", "schema_version", "__class__"))] = value[key]
            case _:
                value[key] = copy.deepcopy(dice.choice(_VALUES))  # later changes may walk into it
        return


def toml_text(text: str, dice: random.Random) -> bytes:
    """Return the text of a TOML file with a value replaced, or that is damaged."""
    if dice.random() < 0.2:
        return damaged(text.encode(), dice)
    lines = text.splitlines()
    assigned = [number for number, line in enumerate(lines) if "=" in line]
    for _ in range(dice.choice((1, 1, 2))):
        number = dice.choice(assigned)
        head, *parts = lines[number].split("=")
        place = dice.randrange(len(parts))
        kept = next((mark for mark in (",", "}", "]") if mark in parts[place]), "")
        rest = parts[place].partition(kept)[2] if kept else ""
        parts[place] = f" {dice.choice(TOKENS)}{kept}{rest}"
        lines[number] = "=".join((head, *parts))
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def safetensors(content: bytes, dice: random.Random) -> bytes:
    """Return a safetensors file with a wrong header, or with damaged bytes."""
    if dice.random() < 0.4:
        return damaged(content, dice)
    (length,) = struct.unpack("<Q", content[:8])
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    name = dice.choice([key for key in header if key != "__metadata__"])
    match dice.randrange(8):
        case 0:
            header[name]["shape"] = dice.choice(([10**18], [-1], [], [2**63], "x", [1.5], [0]))
        case 1:
            header[name]["dtype"] = dice.choice(("F64", "I8", "F128", "", 1, None))
        case 2:
            header[name]["data_offsets"] = dice.choice(([0, 10**18], [8, 4], [-4, 4], [0], "x"))
        case 3:
            header[dice.choice(("other", "", "\ud800", name + ".x"))] = header.pop(name)
        case 4:
            header["__metadata__"] = dice.choice(({"a": 1}, [], "x" * 10_000, {"format": "\u0000"}))
        case 5:
            body = dice.choice((b"", body[:-1], body + b"x", b"\xff" * len(body)))
        case 6:
            text = dice.choice((DEEP, "{}", "null", "{", ""))
            return struct.pack("<Q", len(text)) + text.encode() + body
        case _:
            return struct.pack("<Q", dice.choice((0, 2**62, 2**64 - 1, 99_000_000))) + content[8:]
    text = json.dumps(header)
    return struct.pack("<Q", len(text)) + text.encode() + body


def archive(content: bytes, dice: random.Random) -> bytes:
    """Return an archive of arrays with a wrong array or a wrong size, or with damaged bytes."""
    if dice.random() < 0.4:
        return damaged(content, dice)
    with zipfile.ZipFile(io.BytesIO(content)) as before:
        members = {name: before.read(name) for name in before.namelist()}
    name = dice.choice(list(members))
    shape = dice.choice(("(1000000000000,)", "(-1,)", "(0,)", "(2, 2)", "(", "(1.5,)", "(" * 500, "()"))
    kind = dice.choice(("<f4", "|O", "<U1000000000", "<m8[s]", "<c16", "V8", "|b1", "<i8"))
    match dice.randrange(5):
        case 0:
            del members[name]
        case 1 | 2:
            text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
            members[name] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(64)
        case 3:
            members[name] = damaged(members[name], dice)
        case _:
            members[dice.choice(("../../x.npy", "x", "x" * 3000 + ".npy"))] = members[name]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as after:
        for member, data in members.items():
            after.writestr(member, data)
    result = bytearray(stream.getvalue())
    if dice.random() < 0.2 and (central := result.find(b"PK\x01\x02")) >= 0:
        result[central + 24 : central + 28] = dice.choice((b"\xff\xff\xff\x7f", b"\xfe\xff\xff\xff", b"\0\0\0\0"))
    return bytes(result)
