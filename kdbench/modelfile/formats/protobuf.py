"""The fields of a protobuf message whose schema is unknown."""

from collections.abc import Iterator


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a protobuf message, number and value, until something else comes; the last may be cut."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind, number = key & 7, key >> 3
        if kind == 0:
            value, position = _varint(data, position)
            yield number, value
        elif kind == 2:
            length, position = _varint(data, position)
            yield number, data[position : position + length]
            position += length
        elif kind in {1, 5}:
            position += 8 if kind == 1 else 4
        else:
            return


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            break
    return value, position
