"""The base of values on disk: reading and writing JSON."""

import math
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, ValidationError

from kdbench.characters import is_plain, one_line
from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.user_input.arguments import checked
from kdbench.user_input.validation import Value, WrongValueError, problem

_DEEPEST = 40  # levels of tables and lists


def checked_id(id_: str) -> str:
    """Return a model's id, which names files too; raises WrongValueError for one that cannot."""
    wrong = "is empty" if not id_.strip(" .") else "has a path separator" if {"/", "\\"} & {*id_} else ""
    if wrong or not is_plain(id_):
        shown = one_line(id_)
        message = f"the model name {shown!r} {wrong or 'has a character that cannot be shown'}"
        raise WrongValueError(message, "use letters, digits, '-', '_' and '.'")
    return id_


def require_id(id_: str, remedy: str = "rename the file") -> None:
    """Raise InputError, whose hint begins with `remedy`, unless a file or a network of that name can be a model."""
    try:
        checked_id(id_)
    except WrongValueError as error:
        raise InputError(str(error), f"{remedy}: {error.hint}") from None


Id = Annotated[str, AfterValidator(checked_id)]
"""A model's id."""


def checked_table(table: dict[str, Any]) -> dict[str, Any]:
    """Return a table of any content unless it cannot be written again; raises WrongValueError."""
    level: list[Any] = [table]
    for _ in range(_DEEPEST):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list | tuple)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return table
        if any(isinstance(value, float) and not math.isfinite(value) for value in level):
            raise WrongValueError("a number is not finite", "write a number, or leave the key out")
    raise WrongValueError(f"tables are nested more than {_DEEPEST} levels deep", "flatten them")


AnyTable = Annotated[dict[str, Any], AfterValidator(checked_table)]
"""A table of any content, which JSON and TOML can hold."""


class StoredValue(Value):
    """A value in a separate JSON file, which messages call `file_kind`; `hint` is for an invalid file."""

    file_kind: ClassVar[str]
    hint: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Return the value as JSON values.

        >>> kdbench.RunRecord.read("runs/digits").to_json()["name"]
        'bench'
        """
        return self.model_dump(mode="json", by_alias=True)

    @checked
    def write(self, path: str | Path) -> None:
        """Write the value as JSON to `path` atomically; raises StorageError.

        >>> kdbench.judge("runs/digits", "server-cpu").write("runs/verdict.json")
        """
        storage.write_json(Path(path), self.to_json())

    @classmethod
    @checked
    def read(cls, path: str | Path) -> Self:
        """Read the value; raises InputError if the file is missing or not valid.

        >>> kdbench.judge("runs/digits", "server-cpu").write("runs/verdict.json")
        >>> kdbench.Verdict.read("runs/verdict.json").target
        'server-cpu'
        """
        return cls.from_json(storage.read_json(Path(path), cls.file_kind), Path(path))

    @classmethod
    def from_json(cls, content: Any, path: Path) -> Self:
        """Return the value that `path` contains; raises InputError if it is not valid."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise InputError(f"{path} is not a valid {cls.file_kind}: {problem(error).message}", cls.hint) from error
