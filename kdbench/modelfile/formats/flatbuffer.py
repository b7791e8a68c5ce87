"""Reading a FlatBuffer without its schema's code: fields of tables by number."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

_T = TypeVar("_T")
_TIMES_READ = 8  # of a file's content; a whole file needs half of that


@dataclass
class Buffer:
    """The bytes of a file, and how many more of its content's may be read.

    Tables may share content, and hold tables: a file of some kilobytes could hold any number of nodes.
    """

    content: bytes
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = _TIMES_READ * len(self.content)

    def take(self, at: int, size: int) -> None:
        """Count bytes that are read; raises ValueError for those beyond the end, or far more than there are."""
        self.left -= size
        if at + size > len(self.content) or self.left < 0:
            raise ValueError("content beyond the end, or shared too often")


def u32(data: Buffer, at: int) -> int:
    """Return the number of 32 bits at a position: an offset, a length."""
    return int(struct.unpack_from("<I", data.content, at)[0])


@dataclass(frozen=True)
class Table:
    """A table of a FlatBuffer at position `at`; fields are numbered from 0, absent ones are 0 or empty."""

    data: Buffer
    at: int

    def _position(self, field: int) -> int:
        """Return where a field stands; 0 if it is absent."""
        directory = self.at - int(struct.unpack_from("<i", self.data.content, self.at)[0])
        entry = 4 + 2 * field
        if entry >= struct.unpack_from("<H", self.data.content, directory)[0]:
            return 0
        offset = struct.unpack_from("<H", self.data.content, directory + entry)[0]
        return self.at + int(offset) if offset else 0

    def _target(self, field: int) -> int:
        at = self._position(field)
        return at + u32(self.data, at) if at else 0

    def integer(self, field: int, form: str = "<q") -> int:
        """Return a number: int64, or of another `form`."""
        at = self._position(field)
        return int(struct.unpack_from(form, self.data.content, at)[0]) if at else 0

    def number(self, field: int) -> float:
        """Return a float32."""
        at = self._position(field)
        return float(struct.unpack_from("<f", self.data.content, at)[0]) if at else 0.0

    def text(self, field: int) -> str:
        """Return a string."""
        at = self._target(field)
        return self._text_at(at) if at else ""

    def table(self, field: int) -> "Table | None":
        """Return a table; None if it is absent."""
        at = self._target(field)
        return Table(self.data, at) if at else None

    def vector(self, field: int, size: int, read: Callable[[int], _T]) -> list[_T]:
        """Return the elements of a vector, of `size` bytes each, each read at its position."""
        at = self._target(field)
        count = u32(self.data, at) if at else 0
        self.data.take(at + 4, count * size)
        return [read(at + 4 + size * index) for index in range(count)]

    def tables(self, field: int) -> "list[Table]":
        """Return a vector of tables."""
        return self.vector(field, 4, lambda at: Table(self.data, at + u32(self.data, at)))

    def texts(self, field: int) -> list[str]:
        """Return a vector of strings."""
        return self.vector(field, 4, lambda at: self._text_at(at + u32(self.data, at)))

    def integers(self, field: int) -> list[int]:
        """Return a vector of int64."""
        return self.vector(field, 8, lambda at: int(struct.unpack_from("<q", self.data.content, at)[0]))

    def indices(self, field: int) -> list[int]:
        """Return a vector of int32."""
        return self.vector(field, 4, lambda at: int(struct.unpack_from("<i", self.data.content, at)[0]))

    def numbers(self, field: int) -> list[float]:
        """Return a vector of float32."""
        return self.vector(field, 4, lambda at: float(struct.unpack_from("<f", self.data.content, at)[0]))

    def content(self, field: int) -> bytes:
        """Return a vector of bytes."""
        at = self._target(field)
        return self._bytes_at(at) if at else b""

    def _bytes_at(self, at: int) -> bytes:
        length = u32(self.data, at)
        self.data.take(at + 4, length)
        return self.data.content[at + 4 : at + 4 + length]

    def _text_at(self, at: int) -> str:
        return self._bytes_at(at).decode()
