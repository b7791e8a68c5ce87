"""The base of values on disk: reading and writing JSON."""

from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ValidationError

from kdbench import storage
from kdbench.errors import InputError
from kdbench.validation import Value, problem


class StoredValue(Value):
    """A value with a JSON file of its own, which messages call `file_kind`; `hint` is for an invalid file."""

    file_kind: ClassVar[str]
    hint: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Return the value as JSON values."""
        return self.model_dump(mode="json", by_alias=True)

    def write(self, path: str | Path) -> None:
        """Write the value as JSON to `path` atomically; raises StorageError."""
        storage.write_json(Path(path), self.to_json())

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read the value; raises InputError if the file is missing or not valid."""
        return cls.from_json(storage.read_json(Path(path), cls.file_kind), Path(path))

    @classmethod
    def from_json(cls, content: Any, path: Path) -> Self:
        """Return the value that `path` contains; raises InputError if it is not valid."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise InputError(f"{path} is not a valid {cls.file_kind}: {problem(error).message}", cls.hint) from error
