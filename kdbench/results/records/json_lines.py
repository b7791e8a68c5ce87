"""The JSON file of a value with long lists: one model, measurement or pair a line.

Indented, the record of a sweep would be half as large again. One line is in memory at a time, because a value's Python
objects take several times as much as its text. Readers of JSON see no difference.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any, TypeVar, get_origin

from pydantic import BaseModel, TypeAdapter

from kdbench.characters import escaped
from kdbench.files import storage
from kdbench.files.plain_json import is_suspicious

V = TypeVar("V", bound=BaseModel)

_BATCH = 4096  # lines that are parsed at a time
_INDENT = b"    {"
_Elements = dict[str, list[Any]]


def write_lines(value: BaseModel, path: Path) -> None:
    """Write a value as JSON to `path` atomically, each element of its tuples on a line; raises StorageError."""
    with storage.writing(path) as stream:
        for piece in _pieces(value):
            stream.write(piece.encode())


def _pieces(value: BaseModel) -> Iterator[str]:
    begin = "{"
    for name, field in type(value).model_fields.items():
        member = getattr(value, name)
        if field.exclude_if is not None and field.exclude_if(member):
            continue
        yield f"{begin}\n  {json.dumps(field.alias or name)}: "
        begin = ","
        if isinstance(member, tuple) and member:
            yield from _lines(member)
        else:
            content = value.model_dump(mode="json", by_alias=True, include={name})[field.alias or name]
            yield storage.json_text(content).replace("\n", "\n  ")
    yield "\n}\n"


def _lines(elements: tuple[BaseModel, ...]) -> Iterator[str]:
    begin = "["
    for element in elements:
        yield f"{begin}\n    {escaped(element.model_dump_json(by_alias=True))}"
        begin = ","
    yield "\n  ]"


def content_hash(value: BaseModel) -> str:
    """Return the `storage.content_hash` of the JSON values of `value`, one element of which is in memory at a time."""
    digest, begin = hashlib.sha256(), "{"
    names = {field.alias or name: name for name, field in type(value).model_fields.items()}
    for key in sorted(names):
        name, member = names[key], getattr(value, names[key])
        exclude_if = type(value).model_fields[name].exclude_if
        if exclude_if is not None and exclude_if(member):
            continue
        digest.update(f"{begin}{json.dumps(key)}:".encode())
        begin = ","
        for piece in _canonical_pieces(value, name, key, member):
            digest.update(piece.encode())
    digest.update(b"}")
    return digest.hexdigest()


def _canonical_pieces(value: BaseModel, name: str, key: str, member: Any) -> Iterator[str]:
    if not isinstance(member, tuple):
        yield storage.canonical_json(value.model_dump(mode="json", by_alias=True, include={name})[key])
        return
    yield "["
    for place, element in enumerate(member):
        yield f"{',' if place else ''}{storage.canonical_json(element.model_dump(mode='json', by_alias=True))}"
    yield "]"


def read_lines(kind: type[V], path: Path) -> V | None:
    """Return a value that `write_lines` wrote, with some lines of its file in memory at a time.

    None for a file in any other form, valid or not, and for one with text that `plain_json` may refuse. Raises
    ValidationError for a value that is not valid, and OSError.
    """
    elements: _Elements = {}
    with path.open("rb") as stream:
        rest = _read_elements(stream, _adapters(kind), elements)
    if rest is None or is_suspicious(rest):
        return None
    others = kind.model_validate_json(rest)
    values = {name: getattr(others, name) for name in others.model_fields_set}
    return kind.model_validate({**values, **{name: tuple(listed) for name, listed in elements.items()}})


def read_list(kind: type[BaseModel], name: str, path: Path) -> list[Any] | None:
    """Return one list of a value that `write_lines` wrote; its file is read no further than the end of the list.

    None for a file in any other form, or with text that `plain_json` may refuse. Raises ValidationError and OSError.
    """
    elements: list[Any] = []
    with path.open("rb") as stream:
        for line in stream:
            known, adapter = _adapters(kind).get(line, ("", None))
            if adapter is not None and known == name:
                return elements if _read_list(stream, adapter, elements) is not None else None
    return None


@cache
def _adapters(kind: type[BaseModel]) -> dict[bytes, tuple[str, TypeAdapter[Any]]]:
    """Return the fields that are lists, with what reads them, by the line that begins each."""
    return {
        f"  {json.dumps(field.alias or name)}: [\n".encode(): (name, TypeAdapter(field.annotation))
        for name, field in kind.model_fields.items()
        if field.annotation is not None and get_origin(field.annotation) is tuple
    }


def _read_elements(
    stream: IO[bytes], adapters: dict[bytes, tuple[str, TypeAdapter[Any]]], into: _Elements
) -> bytes | None:
    """Read the elements of lists and return all else; None for what is not in the form of `write_lines`."""
    if stream.read(2) != b"{\n":
        return None
    rest = [b"{"]
    for line in stream:
        rest.append(line)
        if line in adapters:
            name, adapter = adapters[line]
            end = _read_list(stream, adapter, into.setdefault(name, [])) if name not in into else None
            if end is None:
                return None
            rest.append(end)
    return b"".join(rest)


def _read_list(stream: IO[bytes], adapter: TypeAdapter[Any], into: list[Any]) -> bytes | None:
    """Read the elements of one list and return the line that ends it; None for another form."""
    batch: list[bytes] = []
    goes_on = True
    for line in stream:
        if line in {b"  ],\n", b"  ]\n"}:
            return line if not goes_on and _parse(batch, adapter, into) else None
        if not goes_on or not line.startswith(_INDENT):
            return None
        goes_on = line.endswith(b"},\n")
        batch.append(line[:-2] if goes_on else line)
        if len(batch) == _BATCH:
            if not _parse(batch, adapter, into):
                return None
            batch = []
    return None


def _parse(batch: list[bytes], adapter: TypeAdapter[Any], into: list[Any]) -> bool:
    text = b"[%b]" % b",\n".join(batch)
    if is_suspicious(text):
        return False
    into += adapter.validate_json(text)
    return True
