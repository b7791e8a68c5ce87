"""The JSON file of a value with long lists: one model, measurement or pair a line.

Indented, the record of a sweep would be half as large again. One line is in memory at a time, because a value's Python
objects take several times as much as its text. Readers of JSON see no difference.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from kdbench.characters import escaped
from kdbench.files import storage


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
