"""Where a test's files are: beside the test, or where its project begins."""

from dataclasses import dataclass
from pathlib import Path

from kdbench.errors import InputError

_FILE_SETS = ("folder:", "npz:")  # data sets that are named by their path


@dataclass(frozen=True)
class Places:
    """The folders that relative paths are looked for in: that of the test's file, then the project's root."""

    here: Path
    root: Path

    def find(self, name: str | Path, what: str) -> Path:
        """Return the file or folder called `name`; raises InputError, calling it `what`, where there is none."""
        path = Path(name).expanduser()
        tried = [path] if path.is_absolute() else [self.here / path, self.root / path]
        found = next((each for each in tried if each.exists()), None)
        if found is None:
            folders = " nor in ".join(dict.fromkeys(str(each.parent) for each in tried))
            raise InputError(f"there is no {what} {path.name} in {folders}", f"check the path {str(name)!r}")
        return found

    def data(self, name: str | None) -> str | None:
        """Return the name of a data set, its path made absolute where it is named by one."""
        prefix = next((each for each in _FILE_SETS if name is not None and name.startswith(each)), None)
        if name is None or prefix is None:
            return name
        return f"{prefix}{self.find(name.removeprefix(prefix), 'data set')}"
