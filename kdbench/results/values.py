"""What the values on disk have in common: how they are read and written as JSON."""

from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from kdbench import storage
from kdbench.errors import InputError
from kdbench.validation import Value, problem


class StoredValue(Value):
    """A value with a JSON file of its own."""

    def to_json(self) -> dict[str, Any]:
        """Return the value as JSON values."""
        return self.model_dump(mode="json", by_alias=True)

    def write(self, path: Path) -> None:
        """Write the value as JSON to `path`, whole or not at all; raises StorageError."""
        storage.write_json(path, self.to_json())

    @classmethod
    def from_json(cls, content: Any, path: Path, what: str, hint: str) -> Self:
        """Return the value that `path` contains; raises InputError, calling it `what`, where it is not valid."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise InputError(f"{path} is not a valid {what}: {problem(error).message}", hint) from error
